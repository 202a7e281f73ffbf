//! Quoting for a POSIX shell (POSIX.1-2024, XCU 2.2.2).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The arguments as one line, which a POSIX shell splits into exactly these arguments.
///
/// Even plain words are quoted, because a bare `FOO=1` or `if` would not be a command's name.
pub(crate) fn command_line<'a>(words: impl IntoIterator<Item = &'a OsString>) -> OsString {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        quote_into(&mut line, word);
    }
    OsString::from_vec(line)
}

/// The arguments as a person would type them: plain words stay unquoted.
pub(crate) fn readable<'a>(words: impl IntoIterator<Item = &'a OsString>) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=@,+".contains(byte);
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        if !word.is_empty() && word.as_bytes().iter().all(plain) {
            line.extend(word.as_bytes());
        } else {
            quote_into(&mut line, word);
        }
    }
    String::from_utf8_lossy(&line).into_owned()
}

/// The words of a line that a person typed: blanks separate them, quotes and backslashes keep blanks.
/// Nothing is expanded.
///
/// # Errors
/// A quote has no end.
pub(crate) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some('"') | None, '\\') => {
                let next = letters
                    .next()
                    .ok_or("there is nothing behind the backslash")?;
                word.get_or_insert_default().push(next);
            }
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!("the {open} has no end"));
    }
    words.extend(word);
    Ok(words)
}

/// Between single quotes everything is literal; only the quote itself has to leave them.
fn quote_into(line: &mut Vec<u8>, word: &OsStr) {
    line.push(b'\'');
    for byte in word.as_bytes() {
        match byte {
            b'\'' => line.extend(br"'\''"),
            _ => line.push(*byte),
        }
    }
    line.push(b'\'');
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_split_into_what_was_quoted() {
        let words = |line: &str| split(line).unwrap();
        assert_eq!(words("  vm  show web "), ["vm", "show", "web"]);
        assert_eq!(
            words(r#"a 'b c' "d \" e" f\ g ''"#),
            ["a", "b c", "d \" e", "f g", ""]
        );
        assert!(words(" ").is_empty());
        assert!(split("a 'b").unwrap_err().contains("no end"));
        assert!(split("a\\").is_err());
    }

    proptest! {
        #[test]
        fn what_is_quoted_for_a_shell_is_split_again(words in prop::collection::vec("[^\\x00]{0,8}", 0..5)) {
            let typed: Vec<OsString> = words.iter().map(OsString::from).collect();
            prop_assert_eq!(split(&readable(&typed)).unwrap(), words);
        }
    }

    /// What a real shell makes of the line: each argument as the shell's own builtin prints it,
    /// ended by a zero byte.
    #[expect(clippy::disallowed_methods, reason = "a test asks a real shell")]
    fn read_back(words: &[OsString]) -> Vec<OsString> {
        let script = OsString::from("printf '%s\\0' x");
        let line = [&script, OsStr::new(" "), &command_line(words)]
            .map(OsStr::as_bytes)
            .concat();
        let output = Command::new("sh")
            .arg("-c")
            .arg(OsStr::from_bytes(&line))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut parts: Vec<_> = output.stdout.split(|byte| *byte == 0).collect();
        assert_eq!(parts.pop(), Some(&b""[..]));
        assert_eq!(parts.remove(0), b"x");
        parts
            .into_iter()
            .map(|part| OsStr::from_bytes(part).to_owned())
            .collect()
    }

    fn owned(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_shell_reads_back_exactly_the_arguments() {
        for words in [
            &["a b", "c"][..],
            &["", "", ""],
            &["'", "''", "'\\''", "\"", "\\", "\\'"],
            &["*", "?", "[a-z]", "~", "~root", "{a,b}"],
            &["$HOME", "$(id)", "`id`", "${x:-y}", "!!", "#no"],
            &["a\nb", "\n", "\t", "a\r\n", "trailing\n"],
            &["--", "-n", "-e", ";", "&&", "|", ">", "<(x)", "&"],
            &["FOO=bar", "if", "then", "{", "}", "!"],
            &["é", "日本語", "🦦", "a\u{a0}b"],
        ] {
            assert_eq!(read_back(&owned(words)), owned(words));
        }
        let not_text = vec![OsString::from_vec(vec![0xff, b' ', 0xfe])];
        assert_eq!(read_back(&not_text), not_text);
    }

    #[test]
    fn a_word_that_could_be_syntax_is_a_command() {
        assert_eq!(command_line(&owned(&["FOO=1"])), "'FOO=1'");
        assert_eq!(command_line(&owned(&["echo", "it's"])), "'echo' 'it'\\''s'");
        assert_eq!(command_line(&[]), "");
    }

    #[test]
    fn a_readable_line_quotes_only_what_it_must() {
        assert_eq!(
            readable(&owned(&["ssh", "-p", "22", "a b", ""])),
            "ssh -p 22 'a b' ''"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_arguments_come_back(words in prop::collection::vec(
            prop::collection::vec(1_u8.., 0..12), 0..8,
        )) {
            let words: Vec<_> = words.into_iter().map(OsString::from_vec).collect();
            prop_assert_eq!(read_back(&words), words);
        }
    }
}
