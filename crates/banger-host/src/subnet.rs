//! An IPv4 network in CIDR notation.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 network, such as 10.215.0.0/20. Its text, also in JSON, must have zero host bits and a
/// prefix of 8 to 29.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    /// Its first address.
    pub network: Ipv4Addr,
    /// The length of the prefix that its addresses share, in bits.
    pub prefix: u8,
}

impl Subnet {
    /// Whether the two networks have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Subnet) -> bool {
        let shorter = self.prefix.min(other.prefix);
        let mask = if shorter == 0 {
            0
        } else {
            u32::MAX << (32 - u32::from(shorter))
        };
        u32::from(self.network) & mask == u32::from(other.network) & mask
    }

    /// Whether the network contains the address.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.overlaps(Subnet {
            network: address,
            prefix: 32,
        })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a network such as 10.215.0.0/20",
                text.escape_debug()
            )
        };
        let (network, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let network: Ipv4Addr = network.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let is_exact = |it: u8| u32::from(network).trailing_zeros() >= 32 - u32::from(it);
        if (8..=29).contains(&prefix) && is_exact(prefix) {
            Ok(Self { network, prefix })
        } else {
            Err(wrong())
        }
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}
