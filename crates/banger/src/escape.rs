//! The key that leaves a guest's terminal: `Ctrl-]` by default, as in telnet(1).

use std::fmt;
use std::str::FromStr;

/// The bits of a letter that `Ctrl` keeps.
const CONTROL: u8 = 0x1f;

/// A key with `Ctrl`, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Escape(Option<u8>);

impl Default for Escape {
    fn default() -> Self {
        Self(Some(b']' & CONTROL))
    }
}

impl Escape {
    /// No key.
    pub(crate) const NONE: Self = Self(None);

    /// The typed bytes before the key, and whether the key was typed.
    pub(crate) fn split<'b>(&self, typed: &'b [u8]) -> (&'b [u8], bool) {
        let key = self.0;
        match typed.iter().position(|byte| Some(*byte) == key) {
            Some(at) => (&typed[..at], true),
            None => (typed, false),
        }
    }

    /// Whether there is a key.
    pub(crate) fn is_some(self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => {
                let letter = char::from(key | 0x40).to_ascii_lowercase();
                write!(f, "ctrl-{letter}")
            }
            None => f.write_str("none"),
        }
    }
}

impl FromStr for Escape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if lower == "none" {
            return Ok(Self::NONE);
        }
        let key = lower
            .strip_prefix("ctrl-")
            .or_else(|| lower.strip_prefix('^'));
        match key.map(str::as_bytes) {
            Some([letter @ (b'a'..=b'z' | b'[' | b'\\' | b']' | b'^' | b'_')]) => {
                Ok(Self(Some(letter & CONTROL)))
            }
            _ => Err("a key is `ctrl-` and a letter or one of [ \\ ] ^ _, or `none`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_written_alike() {
        for text in ["ctrl-]", "ctrl-a", "ctrl-\\", "none"] {
            assert_eq!(text.parse::<Escape>().unwrap().to_string(), text);
        }
        assert_eq!("^]".parse(), Ok(Escape::default()));
        assert_eq!("Ctrl-A".parse(), "ctrl-a".parse::<Escape>());
        for text in ["", "a", "ctrl-", "ctrl-ab", "ctrl-1"] {
            text.parse::<Escape>().unwrap_err();
        }
    }

    #[test]
    fn what_is_typed_before_the_key_is_kept() {
        let escape = Escape::default();
        assert_eq!(escape.split(b"ls\r"), (&b"ls\r"[..], false));
        assert_eq!(escape.split(b"ls\x1dx"), (&b"ls"[..], true));
        assert_eq!(Escape::NONE.split(b"\x1d"), (&b"\x1d"[..], false));
    }
}
