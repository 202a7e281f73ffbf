//! The two sides of a copy: paths of this machine, and of VMs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use banger_api::{Code, Error, VmRef};

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands::vm) enum Location {
    /// A path of this machine.
    Here(PathBuf),
    /// A path in a VM, as its guest reads it.
    InVm(VmRef, Vec<u8>),
    /// Standard input or output, as an archive.
    Stream,
}

impl Location {
    /// Parses a path; a colon before any slash makes it a VM's, as with scp.
    pub(in crate::commands::vm) fn parse(text: &OsStr) -> Result<Self, Error> {
        let bytes = text.as_bytes();
        if bytes == b"-" {
            return Ok(Self::Stream);
        }
        let colon = bytes.iter().position(|byte| *byte == b':');
        let slash = bytes.iter().position(|byte| *byte == b'/');
        let colon = colon.filter(|colon| slash.is_none_or(|slash| *colon < slash));
        let Some(colon) = colon else {
            return Ok(Self::Here(PathBuf::from(text)));
        };
        let name = String::from_utf8_lossy(&bytes[..colon]);
        let vm = name.parse::<VmRef>().map_err(|cause| {
            Error::new(Code::Invalid, format!("`{name}` is not a VM name"))
                .cause(cause.to_string())
                .hint(format!(
                    "a file here with a colon in its name: ./{}",
                    text.display()
                ))
        })?;
        Ok(Self::InVm(vm, bytes[colon + 1..].to_vec()))
    }
}

/// The sources of one copy, all on one machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sources {
    /// Paths of this machine.
    Here(Vec<PathBuf>),
    /// Paths of one VM.
    InVm(VmRef, Vec<Vec<u8>>),
    /// An archive on standard input.
    Stream,
}

impl Sources {
    /// Requires that they are all on one machine.
    pub(super) fn of(places: Vec<Location>) -> Result<Self, Error> {
        if places == [Location::Stream] {
            return Ok(Self::Stream);
        }
        let (mut here, mut vms, mut inside) = (Vec::new(), Vec::new(), Vec::new());
        for place in places {
            match place {
                Location::Here(path) => here.push(path),
                Location::InVm(vm, path) => {
                    vms.push(vm);
                    inside.push(path);
                }
                Location::Stream => {
                    return Err(
                        Error::new(Code::Invalid, "`-` is the only source, if it is one")
                            .hint("a file of that name: ./-"),
                    );
                }
            }
        }
        vms.dedup();
        match (vms.pop(), here.is_empty()) {
            (None, _) => Ok(Self::Here(here)),
            (Some(_), _) if !vms.is_empty() => {
                Err(Error::new(Code::Invalid, "the sources are in several VMs")
                    .hint("copy from one VM after the other"))
            }
            (Some(vm), true) => Ok(Self::InVm(vm, inside)),
            (Some(_), false) => Err(Error::new(
                Code::Invalid,
                "some sources are here, and some in a VM",
            )
            .hint("copy from one machine after the other")),
        }
    }
}

/// The error of a copy that is about no VM.
pub(super) fn no_vm() -> Error {
    Error::new(Code::Invalid, "none of the paths is in a VM")
        .hint("write one as NAME:PATH: banger vm cp FILE NAME:DIR")
}

/// The same as [`last_name`], for a path as a guest reads it.
pub(super) fn name_in_vm(path: &[u8]) -> Option<Vec<u8>> {
    last_name(OsStr::from_bytes(path)).filter(|name| name != b"~")
}

/// The name that a source gets in its destination; `None` if only its contents are copied.
pub(super) fn last_name(path: &OsStr) -> Option<Vec<u8>> {
    let bytes = path.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/')? + 1;
    let start = bytes[..end].iter().rposition(|byte| *byte == b'/');
    let name = &bytes[start.map_or(0, |at| at + 1)..end];
    let is_name = name != b"." && name != b"..";
    is_name.then(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_any_slash_makes_it_a_path_of_a_vm() {
        let here = |text: &str| Ok(Location::Here(text.into()));
        let parse = |text: &str| Location::parse(OsStr::new(text)).map_err(drop);
        for text in ["a", "./a:b", "/a:b", "a/b:c", "./-", "-a"] {
            assert_eq!(parse(text), here(text).map_err(|(): ()| ()), "{text}");
        }
        let web = "web".parse().unwrap();
        assert_eq!(parse("web:a:b"), Ok(Location::InVm(web, b"a:b".to_vec())));
        assert_eq!(parse("-"), Ok(Location::Stream));
        assert!(parse(":a").is_err());
        assert!(parse("A B:a").is_err());
    }

    #[test]
    fn contents_have_no_name() {
        for (path, name) in [
            ("a/b", Some("b")),
            ("a/b//", Some("b")),
            ("/", None),
            ("", None),
            ("a/.", None),
            ("..", None),
            ("c", Some("c")),
            ("c ", Some("c ")),
        ] {
            let found = last_name(OsStr::new(path));
            assert_eq!(found, name.map(|it| it.as_bytes().to_vec()), "{path}");
        }
    }
}
