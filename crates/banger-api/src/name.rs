//! The identifiers of a VM: its id, its name, and a reference that is either.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The trouble with a name, an id or a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(pub(crate) String);

/// The permanent identifier of a VM: 8 lower-case hexadecimal digits, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmId(u32);

impl VmId {
    /// The id with these bits.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for VmId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() != 8 || !is_hex(text) {
            return Err(InvalidName(format!(
                "{text:?} is not a VM id: that is 8 lower-case hexadecimal digits"
            )));
        }
        u32::from_str_radix(text, 16)
            .map(Self)
            .map_err(|cause| InvalidName(cause.to_string()))
    }
}

/// A VM's name: a DNS label of 1 to 63 lower-case letters, digits and hyphens (RFC 1123, 2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmName(String);

impl VmName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names with another meaning.
const RESERVED: [&str; 3] = ["all", "localhost", "vm"];

impl FromStr for VmName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = |why: &str| {
            Err(InvalidName(format!(
                "{} is not a VM name: {why}",
                excerpt(text)
            )))
        };
        if text.is_empty() {
            return wrong("it is empty");
        }
        if text.len() > 63 {
            return wrong("it is longer than 63 characters");
        }
        if !text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        {
            return wrong("use lower-case letters, digits and hyphens only");
        }
        if text.starts_with('-') || text.ends_with('-') {
            return wrong("it begins or ends with a hyphen");
        }
        if RESERVED.contains(&text) {
            return wrong("the word is reserved");
        }
        Ok(Self(text.to_owned()))
    }
}

/// At most 80 characters of a rejected text, escaped for a terminal.
pub(crate) fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{dots}")
}

/// A reference to a VM: its name, its id, or the first digits of its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmRef(String);

impl VmRef {
    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it equals this name.
    #[must_use]
    pub fn is_name(&self, name: &VmName) -> bool {
        self.0 == name.0
    }

    /// Whether it is this id, or its first digits.
    #[must_use]
    pub fn begins(&self, id: VmId) -> bool {
        id.to_string().starts_with(&self.0)
    }
}

impl fmt::Display for VmRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VmRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // Every id prefix is made of characters that a name may have, so one rule serves both.
        let legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if text.is_empty() || text.len() > 63 || !text.bytes().all(legal) {
            return Err(InvalidName(format!(
                "{} names no VM: {}",
                excerpt(text),
                near(text).map_or_else(
                    || "give a name, an id, or the first digits of an id".to_owned(),
                    |name| format!("did you mean `{name}`?")
                )
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name that is meant by a name in the DNS, in capitals, or between spaces.
fn near(text: &str) -> Option<VmName> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('.').unwrap_or(&text);
    text.strip_suffix(".vm").unwrap_or(text).parse().ok()
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}
text_conversions!(VmId, VmName, VmRef);

impl From<VmId> for VmRef {
    fn from(id: VmId) -> Self {
        Self(id.to_string())
    }
}

impl From<&VmName> for VmRef {
    fn from(name: &VmName) -> Self {
        Self(name.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_dns_or_in_capitals_suggests_the_vms_name() {
        for text in [
            "web.vm", "web.vm.", "web.", "WEB", "Web.VM", " web", "web\n",
        ] {
            let error = text.parse::<VmRef>().unwrap_err().to_string();
            assert!(error.ends_with("did you mean `web`?"), "{error}");
        }
        for text in ["a_b", "a.b", "../web", "", ".vm"] {
            let error = text.parse::<VmRef>().unwrap_err().to_string();
            assert!(error.ends_with("the first digits of an id"), "{error}");
        }
    }

    #[test]
    fn a_name_is_a_dns_label() {
        for good in ["a", "calm-otter", "0", "a1-2b", &"x".repeat(63)] {
            assert!(good.parse::<VmName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "../x",
            "a/b",
            "a\nb",
            "a\0b",
            "$(id)",
            "a;b",
            "é",
            "🦦",
            "all",
            "localhost",
            " a",
            "'a'",
            "\"a\"",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<VmName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_is_eight_hexadecimal_digits() {
        let id: VmId = "00ab12cd".parse().unwrap();
        assert_eq!(id.to_string(), "00ab12cd");
        for bad in ["", "0", "00AB12CD", "00ab12cde", "00ab12cg", "+0ab12cd"] {
            assert!(bad.parse::<VmId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reference_matches_a_name_wholly_and_an_id_by_its_beginning() {
        let id: VmId = "00ab12cd".parse().unwrap();
        let name: VmName = "calm-otter".parse().unwrap();
        assert!("00a".parse::<VmRef>().unwrap().begins(id));
        assert!(!"0a".parse::<VmRef>().unwrap().begins(id));
        assert!("calm-otter".parse::<VmRef>().unwrap().is_name(&name));
        assert!(!"calm".parse::<VmRef>().unwrap().is_name(&name));
        assert!("a b".parse::<VmRef>().is_err());
    }

    #[test]
    fn a_message_shows_no_control_characters() {
        let error = "a\u{1b}[31m\n".parse::<VmName>().unwrap_err().to_string();
        assert!(error.chars().all(|c| !c.is_control()), "{error}");
    }
}
