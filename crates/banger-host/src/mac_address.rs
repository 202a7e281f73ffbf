//! MAC addresses of guests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The prefix of all of them: locally administered, unicast.
const PREFIX: [u8; 2] = [0x02, 0xba];

/// The MAC address of a guest: `02:ba:` and four bytes. Other addresses do not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 4]);

impl MacAddress {
    /// The address with these last four bytes, the most significant first.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits.to_be_bytes())
    }

    /// All six bytes.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        let ([a, b], [c, d, e, f]) = (PREFIX, self.0);
        [a, b, c, d, e, f]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.octets();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bits = text.strip_prefix("02:ba:").map(|it| it.replace(':', ""));
        let bits = bits.and_then(|it| u32::from_str_radix(&it, 16).ok());
        bits.map(Self::from_bits)
            .filter(|it| it.to_string() == text)
            .ok_or_else(|| format!("`{}` is not a guest's MAC address", text.escape_debug()))
    }
}

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let address = MacAddress::from_bits(0x00c0_ffee);
        assert_eq!(address.to_string(), "02:ba:00:c0:ff:ee");
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(address.octets(), [2, 0xba, 0, 0xc0, 0xff, 0xee]);
    }

    #[test]
    fn the_address_of_another_device_is_rejected() {
        for text in [
            "",
            "02:ba:",
            "02:ba:00:c0:ff",
            "02:ba:00:c0:ff:ee:00",
            "02:ba:00:C0:FF:EE",
            "02:ba:00c0ffee",
            "02:ba:+0:c0:ff:ee",
            "52:54:00:c0:ff:ee",
            "ff:ff:ff:ff:ff:ff",
            "02-ba-00-c0-ff-ee",
            "02:ba:00:c0:ff:ee\n",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text:?}");
        }
    }
}
