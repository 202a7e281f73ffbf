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

/// Everything between single quotes is literal; only a single quote itself must be outside of them.
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

    /// The arguments that a real shell reads from the line, each with a terminating zero, printed
    /// by the shell's own builtin.
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
