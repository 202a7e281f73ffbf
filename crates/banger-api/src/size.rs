//! Sizes of memory and disks, in MiB.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of MiB (2^20 bytes), read from `16G`, `2048M`, `1T` or a bare number of MiB.
///
/// The units are powers of 1024, as in qemu-img and truncate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Mib(pub u64);

/// The largest size: 64 TiB.
const LARGEST: u64 = 64 << 20;

/// The trouble with a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSize(String);

impl FromStr for Mib {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let wrong = |why: &str| {
            let short: String = text.chars().take(40).collect();
            Err(InvalidSize(format!("{short:?} is not a size: {why}")))
        };
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return wrong("write it as 16G, 2048M or a number of MiB");
        }
        let factor: u64 = match unit.to_ascii_uppercase().as_str() {
            "" | "M" | "MIB" => 1,
            "G" | "GIB" => 1 << 10,
            "T" | "TIB" => 1 << 20,
            _ => return wrong("use 16G, 2048M or 1T; a bare number is MiB"),
        };
        let Some(mib) = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
        else {
            return wrong("it is larger than 64T");
        };
        if mib == 0 {
            return wrong("it is zero");
        }
        if mib > LARGEST {
            return wrong("it is larger than 64T");
        }
        Ok(Self(mib))
    }
}

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            mib if mib > 0 && mib % (1 << 20) == 0 => write!(f, "{}T", mib >> 20),
            mib if mib > 0 && mib % (1 << 10) == 0 => write!(f, "{}G", mib >> 10),
            mib => write!(f, "{mib}M"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_reads_like_16g_or_2048m_or_mib() {
        for (text, mib) in [
            ("16G", 16_384),
            ("2048M", 2048),
            ("512", 512),
            ("1T", 1 << 20),
            ("1g", 1024),
        ] {
            assert_eq!(text.parse::<Mib>().unwrap(), Mib(mib), "{text}");
        }
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        for bad in [
            "",
            "0",
            "0G",
            "-1",
            "1K",
            "1.5G",
            "G",
            "1e9",
            "99999999999999999999",
            "65T",
            " 1",
            "1 G",
        ] {
            assert!(bad.parse::<Mib>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_size_is_shown_as_it_can_be_read() {
        for mib in [1, 512, 1024, 1536, 16_384, 1 << 20] {
            assert_eq!(Mib(mib).to_string().parse::<Mib>().unwrap(), Mib(mib));
        }
    }
}
