//! What an entry of a tar says: its path, its target, its attributes. All of it may be hostile.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use banger_api::{Code, Error};
use tar::Entry;

use crate::error::Result;

pub(super) fn hostile(what: String) -> Error {
    Error::new(Code::Invalid, "it is not a root file system that is taken").cause(what)
}

pub(super) fn damaged(cause: &std::io::Error) -> Error {
    Error::new(Code::Invalid, "its tar archive cannot be read").cause(cause.to_string())
}

/// The components of a path, including `..`.
pub(super) fn parts(path: &Path) -> Vec<Vec<u8>> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.as_bytes().to_vec()),
        Component::ParentDir => Some(b"..".to_vec()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

/// A path within the tree, without a slash at its beginning.
pub(super) fn plain(path: &[u8]) -> Result<PathBuf> {
    let parts = parts(Path::new(OsStr::from_bytes(path)));
    if path.len() > 4096 || path.contains(&0) {
        return Err(hostile("its path is too long, or no path".to_owned()));
    }
    if parts.iter().any(|part| part == b".." || part.len() > 255) {
        return Err(hostile(
            "its path has a `..`, or a name of more than 255 bytes".to_owned(),
        ));
    }
    Ok(parts.iter().map(|part| OsStr::from_bytes(part)).collect())
}

pub(super) fn target<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf> {
    let target = entry.link_name_bytes().unwrap_or_default();
    if target.is_empty() || target.len() > 4095 || target.contains(&0) {
        return Err(hostile("it is a link to nothing".to_owned()));
    }
    Ok(PathBuf::from(OsStr::from_bytes(&target)))
}

/// The extended attributes that are kept: file capabilities, and the user's own.
pub(super) fn attributes<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<(String, Vec<u8>)>> {
    let Some(extensions) = entry.pax_extensions().map_err(|cause| damaged(&cause))? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for extension in extensions {
        let extension = extension.map_err(|cause| damaged(&cause))?;
        let Ok(key) = extension.key() else { continue };
        if key.starts_with("GNU.sparse.") {
            return Err(hostile("it is a sparse file in the pax format".to_owned())
                .hint("make the archive without --sparse, or with --format=gnu"));
        }
        let name = key.strip_prefix("SCHILY.xattr.");
        let is_kept = |it: &&str| *it == "security.capability" || it.starts_with("user.");
        if name.as_ref().is_some_and(is_kept) {
            found.push((key.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok(found)
}
