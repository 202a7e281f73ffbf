//! Reads untrusted ext4 file systems. They are never mounted on the host, nor passed to a program
//! of the host.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use banger_api::{Code, Error};
use ext4_view::{Ext4, Ext4Error};

use super::judge::{HEAD, Tree};
use crate::error::Result;

/// The position and length of the superblock, in bytes:
/// <https://docs.kernel.org/filesystems/ext4/super.html>
const SUPERBLOCK: (u64, usize) = (1024, 1024);

/// The incompatible feature `64bit`: block numbers of 64 bits.
const SIXTY_FOUR_BIT: u32 = 0x80;

/// The length of the ext4 file system that begins at `offset` of a file, in bytes; `None` if there
/// is none.
pub(super) fn length_at(file: &File, offset: u64) -> std::io::Result<Option<u64>> {
    let mut superblock = [0; SUPERBLOCK.1];
    match file.read_exact_at(&mut superblock, offset + SUPERBLOCK.0) {
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let number = |at: usize| {
        let bytes = superblock[at..at + 4].iter().rev();
        bytes.fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
    };
    let magic = u16::from_le_bytes([superblock[0x38], superblock[0x39]]);
    let block_shift = number(0x18).checked_add(10).filter(|it| *it <= 16);
    let (0xef53, Some(block_shift)) = (magic, block_shift) else {
        return Ok(None);
    };
    let high = match number(0x60) & SIXTY_FOUR_BIT {
        0 => 0,
        _ => u64::from(number(0x150)),
    };
    let blocks = high << 32 | u64::from(number(0x4));
    Ok(blocks.checked_mul(1 << block_shift))
}

/// The content of an ext4 file system.
#[derive(Debug)]
pub(super) struct Ext4Tree(Ext4);

impl Ext4Tree {
    /// Opens the file system in a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let loaded = Ext4::load_from_path(path);
        loaded.map(Self).map_err(|cause| damaged(&cause))
    }
}

fn damaged(cause: &Ext4Error) -> Error {
    Error::new(Code::Invalid, "its ext4 file system cannot be read")
        .cause(cause.to_string())
        .hint("check the original: e2fsck -f FILE")
}

impl Tree for Ext4Tree {
    fn head(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let mut file = match self.0.open(format!("/{path}").as_str()) {
            Ok(file) => file,
            Err(
                Ext4Error::NotFound
                | Ext4Error::NotADirectory
                | Ext4Error::IsADirectory
                | Ext4Error::IsASpecialFile
                | Ext4Error::TooManySymlinks,
            ) => return Ok(None),
            Err(cause) => return Err(damaged(&cause)),
        };
        let mut head = vec![0; HEAD];
        let mut length = 0;
        while length < HEAD {
            match file.read_bytes(&mut head[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(cause) => return Err(damaged(&cause)),
            }
        }
        head.truncate(length);
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use banger_host::command::Command;

    use super::super::judge::judge;
    use super::super::judge::tests::program;
    use super::*;

    /// An image with these files, made by mke2fs of a tree.
    fn image(folder: &Path, files: &[(&str, Vec<u8>)]) -> std::path::PathBuf {
        let (tree, image) = (folder.join("tree"), folder.join("image"));
        std::fs::create_dir(&tree).unwrap();
        for (path, content) in files {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("usr/lib", tree.join("lib")).unwrap();
        let made = Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]);
        made.args([&tree, &image]).arg("8M").run().unwrap();
        image
    }

    #[test]
    fn a_file_is_found_through_links_and_the_length_is_the_file_systems() {
        let folder = tempfile::tempdir().unwrap();
        let path = image(folder.path(), &[("usr/lib/systemd/systemd", program(62))]);
        let tree = Ext4Tree::open(&path).unwrap();
        let head = tree.head("lib/systemd/systemd").unwrap();
        assert_eq!(head, Some(program(62)));
        assert_eq!(tree.head("usr/lib").unwrap(), None);
        assert_eq!(tree.head("usr/sbin/sshd").unwrap(), None);
        assert!(judge(&tree).unwrap_err().to_string().contains("sshd"));
        let file = File::options().read(true).write(true).open(&path).unwrap();
        assert_eq!(length_at(&file, 0).unwrap(), Some(8 << 20));
        assert_eq!(length_at(&file, 4096).unwrap(), None);
        file.set_len(1500).unwrap();
        assert_eq!(length_at(&file, 0).unwrap(), None);
    }

    #[test]
    fn what_is_damaged_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = image(folder.path(), &[("usr/sbin/sshd", program(62))]);
        let whole = std::fs::read(&path).unwrap();
        for byte in 0..1024 {
            let mut damaged = whole.clone();
            damaged[1024 + byte] ^= 0xff;
            std::fs::write(&path, damaged).unwrap();
            if let Ok(tree) = Ext4Tree::open(&path) {
                let _ = tree.head("usr/sbin/sshd");
            }
        }
    }
}
