//! Digests of a bundle's parts: SHA-256 of a file, and of a folder's files with their names.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Result;
use super::error::failure_caused_by;
use crate::download::hexadecimal;

/// The digest and size of one part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// The SHA-256, in hexadecimal.
    pub(super) sha256: String,
    /// The size in bytes; of a folder, the sum of its files.
    pub(super) size: u64,
}

/// The digest of a file.
pub(super) fn file(path: &Path) -> Result<Part> {
    let map_io_error = |cause| failure_caused_by(format!("read `{}`", path.display()), cause);
    let mut file = File::open(path).map_err(map_io_error)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer).map_err(map_io_error)?;
        if count == 0 {
            break;
        }
        size += count as u64;
        hash.update(&buffer[..count]);
    }
    Ok(Part {
        sha256: hexadecimal(hash),
        size,
    })
}

/// The digest of a folder: the SHA-256 of a sorted list of its files with their digests.
pub(super) fn folder(path: &Path) -> Result<Part> {
    let mut files = Vec::new();
    list(path, "", &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    let mut size = 0;
    for (name, _) in &files {
        let part = file(&path.join(name))?;
        size += part.size;
        hash.update(format!("{}  {name}\n", part.sha256));
    }
    Ok(Part {
        sha256: hexadecimal(hash),
        size,
    })
}

/// The size of all files in a folder, in bytes, without reading them.
pub(super) fn folder_size(path: &Path) -> Result<u64> {
    let mut files = Vec::new();
    list(path, "", &mut files)?;
    Ok(files.iter().map(|(_, size)| size).sum())
}

/// The relative paths of all files in a folder, sorted.
pub(super) fn files(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    list(folder, "", &mut files)?;
    files.sort();
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// Appends the relative paths and sizes of all files in a folder.
fn list(folder: &Path, above: &str, files: &mut Vec<(String, u64)>) -> Result<()> {
    let map_io_error = |cause| failure_caused_by(format!("list `{}`", folder.display()), cause);
    for entry in fs::read_dir(folder).map_err(map_io_error)? {
        let entry = entry.map_err(map_io_error)?;
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        let found = entry.metadata().map_err(map_io_error)?;
        if found.is_dir() {
            list(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push((name, found.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_digest_equals_that_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let part = file(&path).unwrap();
        assert_eq!(
            part.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(part.size, 3);
    }

    #[test]
    fn a_folders_digest_depends_on_contents_and_names() {
        let make = |files: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("kernel")).unwrap();
            for (name, content) in files {
                fs::write(root.path().join(name), content).unwrap();
            }
            let size = folder_size(root.path()).unwrap();
            let part = folder(root.path()).unwrap();
            assert_eq!(part.size, size);
            part.sha256
        };
        let whole = make(&[("kernel/a", "1"), ("b", "22")]);
        assert_eq!(make(&[("b", "22"), ("kernel/a", "1")]), whole);
        assert_ne!(make(&[("kernel/a", "2"), ("b", "22")]), whole);
        assert_ne!(make(&[("kernel/c", "1"), ("b", "22")]), whole);
        assert_ne!(make(&[("b", "22")]), whole);
    }
}
