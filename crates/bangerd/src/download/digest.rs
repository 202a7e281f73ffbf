//! SHA-256 digests, expected and computed.

use std::fmt::{self, Write as _};
use std::io::{self, Read};

use banger_api::{Code, Error};
use sha2::{Digest as _, Sha256};

/// The size of one read, in bytes.
const CHUNK: usize = 1 << 18;

/// A SHA-256: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest(String);

impl Digest {
    /// Parses a digest as `sha256sum` prints it; upper-case digits are accepted, too.
    ///
    /// # Errors
    /// `invalid` for anything but 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> banger_api::Result<Self> {
        let is_digest = text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
        if is_digest {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let excerpt: String = text.chars().take(80).collect();
        let message = format!("`{}` is not a SHA-256", excerpt.escape_default());
        Err(Error::new(Code::Invalid, message)
            .hint("a SHA-256 has 64 hexadecimal digits, as sha256sum prints it"))
    }

    /// Reads `reader` to its end. `progress` gets the size of each chunk in bytes; its error ends
    /// the reading.
    ///
    /// # Errors
    /// The error of `reader` or of `progress`.
    pub(crate) fn of(
        reader: &mut impl Read,
        mut progress: impl FnMut(usize) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = match reader.read(&mut chunk) {
                Ok(0) => return Ok(Self(hexadecimal(hash))),
                Ok(count) => count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(cause),
            };
            hash.update(&chunk[..count]);
            progress(count)?;
        }
    }

    /// The digits.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The digits of a finished hash.
pub(crate) fn hexadecimal(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_equals_that_of_sha256sum() {
        let digest = Digest::of(&mut &b"abc"[..], |_| Ok(())).unwrap();
        let known = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        assert_eq!(digest, Digest::parse(known).unwrap());
    }

    #[test]
    fn text_that_is_not_a_digest_is_rejected() {
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(65), "sha256:abc"] {
            let error = Digest::parse(text).unwrap_err();
            assert!(error.message.contains("is not a SHA-256"), "{error}");
        }
    }
}
