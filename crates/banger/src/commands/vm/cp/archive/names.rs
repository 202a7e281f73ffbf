//! The names in an archive that comes: plain ones, or none.

use banger_copy::RelativePath;

/// The path below the destination that a name in an archive means; in words if it means none.
pub(super) fn below(name: &[u8]) -> Result<RelativePath, &'static str> {
    if name.starts_with(b"/") {
        return Err("its name is absolute");
    }
    let mut parts = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its name leads out of the destination"),
            part => parts.push(part),
        }
    }
    RelativePath::new(parts.join(&b'/')).map_err(|_| "its name is too long, or no name")
}

/// A name to report, whatever it is.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_an_archive_stays_below_or_is_refused() {
        for (name, path) in [
            ("./a/b/", Some("a/b")),
            ("a//b", Some("a/b")),
            ("./", Some("")),
            ("...", Some("...")),
            ("/etc/passwd", None),
            ("//", None),
            ("..", None),
            ("a/../../b", None),
            ("a/b/..", None),
            ("a\0b", None),
        ] {
            let found = below(name.as_bytes());
            assert_eq!(
                found.ok().map(|it| it.to_string()).as_deref(),
                path,
                "{name:?}"
            );
        }
        assert!(below(&b"x".repeat(300)).is_err());
    }
}
