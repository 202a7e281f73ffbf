//! Text in a script for `sh`.

/// One word of a command, whatever is in it.
pub(super) fn word(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./,:=+@%".contains(it);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use banger_host::command::Command;

    use super::*;

    #[test]
    fn a_shell_reads_every_text_as_one_word() {
        for text in [
            "", "a b", "it's", "$HOME", "`id`", "a\nb", "\\", "*", "é", "-n",
        ] {
            let script = format!("printf '<%s>' {}", word(text));
            let output = Command::new("sh").args(["-c", &script]).run().unwrap();
            assert_eq!(output.text(), format!("<{text}>"));
        }
    }
}
