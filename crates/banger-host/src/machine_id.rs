//! The identifier of a machine: its instance and its VM.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a machine: as text, exactly eight hexadecimal digits in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineId(u32);

impl MachineId {
    /// The id with these bits.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for MachineId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bits = u32::from_str_radix(text, 16).map(Self);
        bits.ok()
            .filter(|it| it.to_string() == text)
            .ok_or_else(|| format!("`{}` is not a machine's id", text.escape_debug()))
    }
}

impl TryFrom<String> for MachineId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = MachineId::from_bits(0x00c0_ffee);
        assert_eq!(id.to_string(), "00c0ffee");
        assert_eq!("00c0ffee".parse(), Ok(id));
    }

    #[test]
    fn text_that_is_not_eight_digits_is_rejected() {
        for text in [
            "",
            "c0ffee",
            "00C0FFEE",
            "00c0ffee0",
            "+0c0ffee",
            "00c0ffe ",
            "../c0ffe",
            "00c0ff\0e",
        ] {
            assert!(text.parse::<MachineId>().is_err(), "{text:?}");
        }
    }
}
