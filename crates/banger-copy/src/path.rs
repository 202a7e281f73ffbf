//! Paths that may arrive from the other side.

use std::borrow::Borrow;
use std::fmt;

/// The longest path, in bytes: the kernel's own limit.
pub const LONGEST_PATH: usize = 4095;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 255;

/// A path below a source or a target: plain names, without `.`, `..`, or an empty one. The empty path is the
/// top itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(Vec<u8>);

/// Bytes that are no such path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path of plain names, or longer than 4095 bytes")]
pub struct InvalidPath;

impl RelativePath {
    /// The path of these bytes.
    ///
    /// # Errors
    /// A name in it is empty, `.`, `..`, longer than 255 bytes, or has a zero byte; or the whole is too long.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidPath> {
        let bytes = bytes.into();
        let plain = |name: &[u8]| {
            !name.is_empty()
                && name.len() <= LONGEST_NAME
                && name != b"."
                && name != b".."
                && !name.contains(&0)
        };
        let valid = bytes.len() <= LONGEST_PATH
            && (bytes.is_empty() || bytes.split(|byte| *byte == b'/').all(plain));
        valid.then_some(Self(bytes)).ok_or(InvalidPath)
    }

    /// The path of `name` below this one.
    ///
    /// # Errors
    /// As [`RelativePath::new`]. `name` may be a path, too.
    pub fn join(&self, name: &[u8]) -> Result<Self, InvalidPath> {
        if self.0.is_empty() {
            return Self::new(name);
        }
        if name.is_empty() {
            return Ok(self.clone());
        }
        Self::new([&self.0, &b"/"[..], name].concat())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the top.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of the directory that it lies in, and its name there. Both are empty for the top.
    #[must_use]
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[], &self.0),
        }
    }

    /// This path, then those of the directories that it lies in, the nearest first; the top is the last one.
    pub fn ancestors(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::successors(Some(self.as_bytes()), |path| {
            let end = path.iter().rposition(|byte| *byte == b'/');
            (!path.is_empty()).then(|| &path[..end.unwrap_or(0)])
        })
    }

    /// Whether it is `directory` or lies below it.
    #[must_use]
    pub fn is_within(&self, directory: &Self) -> bool {
        let Some(rest) = self.0.strip_prefix(directory.as_bytes()) else {
            return false;
        };
        directory.is_top() || rest.is_empty() || rest.starts_with(b"/")
    }
}

/// A set or map of paths is asked with the bytes of one: both have the same hash and order.
impl Borrow<[u8]> for RelativePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for bad in ["/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", "/"] {
            assert!(RelativePath::new(bad).is_err(), "{bad:?}");
        }
        for good in ["", "a", "a/b", "...", "a b/\n", "-r"] {
            assert!(RelativePath::new(good).is_ok(), "{good:?}");
        }
        assert!(RelativePath::new("x".repeat(256)).is_err());
        assert!(RelativePath::new("x/".repeat(2047) + "x").is_ok());
        assert!(RelativePath::new("x/".repeat(2048) + "x").is_err());
        assert!(RelativePath::new("a").unwrap().join(b"..").is_err());
    }

    #[test]
    fn a_path_lies_within_its_directories_only() {
        let path = |text: &str| RelativePath::new(text).unwrap();
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a/b").is_within(&path("")));
        assert!(!path("ab").is_within(&path("a")));
        assert_eq!(path("a/b/c").split(), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(path("c").split(), (&b""[..], &b"c"[..]));
        let deep = path("a/b/c");
        let above: Vec<&[u8]> = deep.ancestors().collect();
        assert_eq!(above, [&b"a/b/c"[..], b"a/b", b"a", b""]);
        assert_eq!(path("").ancestors().count(), 1);
        let known = std::collections::HashSet::from([path("a/b")]);
        assert!(deep.ancestors().any(|it| known.contains(it)));
    }
}
