//! Changes of files and directories, which need no privileges beyond the user's own.

use std::path::PathBuf;

use crate::{Owner, PackEntry, UnpackEntry};

/// One change of files. Every path is absolute and has no `..`.
///
/// An `owner` of `None` stands for the user that we run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOp {
    /// The directory exists, parents too, with this mode and owner.
    MakeDirectory {
        /// Its absolute path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// Neither the directory nor anything below it exists. Symbolic links are never followed.
    RemoveDirectory {
        /// Its absolute path.
        path: PathBuf,
    },
    /// The file has these contents, durably: a temporary file, fsync, rename, fsync of the folder.
    WriteFile {
        /// Its absolute path.
        path: PathBuf,
        /// All of its bytes.
        contents: Vec<u8>,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// The file has these contents, replaced atomically but not durably. It is for data that is not
    /// needed after a reboot of the host.
    WriteScratch {
        /// Its absolute path.
        path: PathBuf,
        /// All of its bytes.
        contents: Vec<u8>,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// The file does not exist.
    RemoveFile {
        /// Its absolute path.
        path: PathBuf,
    },
    /// The file belongs to this owner alone, with the permission bits 0600.
    GiveFile {
        /// Its absolute path.
        path: PathBuf,
        /// Its owner.
        owner: Owner,
    },
    /// `from` is renamed to `to`, durably and without needing space. If `from` is missing and `to`
    /// exists, the change was made before.
    RenameFile {
        /// Its absolute path.
        from: PathBuf,
        /// Its new path, in the same folder; an existing file is replaced.
        to: PathBuf,
    },
    /// `to` is a hard link to the file `from`, and replaces whatever `to` named before.
    LinkFile {
        /// The file that exists.
        from: PathBuf,
        /// The new name, on the same file system.
        to: PathBuf,
    },
    /// `path` is a symbolic link to `target`, which need not exist.
    MakeLink {
        /// Its absolute path; an existing file is replaced.
        path: PathBuf,
        /// The text of the link.
        target: PathBuf,
    },
    /// `path` is a node of the block device `device`, accessible only to its owner.
    MakeNode {
        /// Its absolute path.
        path: PathBuf,
        /// The existing node of the device.
        device: PathBuf,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// `to` is a fresh file that shares the blocks of `from` (FICLONE);
    /// [`Kind::Unsupported`](crate::Kind::Unsupported) where the file system cannot do that. Its
    /// permission bits are 0600 with an owner, otherwise those of `from` without write access for
    /// group and others.
    CloneFile {
        /// The file to clone.
        from: PathBuf,
        /// The new file; an existing file is replaced.
        to: PathBuf,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// `to` is a fresh copy of `from` in which holes stay holes. Its permission bits are 0600 with
    /// an owner, otherwise those of `from` without write access for group and others.
    CopyFile {
        /// The file to copy.
        from: PathBuf,
        /// The new file; an existing file is replaced.
        to: PathBuf,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// `path` is a sparse file with a fresh, empty ext4 file system. An existing file is kept.
    MakeFilesystem {
        /// Its absolute path.
        path: PathBuf,
        /// Its size in MiB, at least 16.
        size_mib: u64,
        /// Its volume label, at most 16 bytes.
        label: String,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// The file has at least this length; the added part is a hole. It never shrinks.
    GrowFile {
        /// Its absolute path.
        path: PathBuf,
        /// Its minimum length in MiB.
        size_mib: u64,
    },
    /// The file takes no space before `offset`; its length stays.
    PunchHole {
        /// Its absolute path.
        path: PathBuf,
        /// Where the kept part begins, in bytes.
        offset: u64,
    },
    /// `to` is an [archive](crate::archive) of these files, written atomically. Its permission bits
    /// are 0600.
    PackFiles {
        /// Its absolute path; an existing file is replaced.
        to: PathBuf,
        /// The head of the archive.
        head: Vec<u8>,
        /// The files, in order. They are not written during the change.
        files: Vec<PackEntry>,
    },
    /// These are the files of the archive `from`; if any part of it is invalid, none of them
    /// exists. Their permission bits are 0644.
    UnpackFiles {
        /// Its absolute path.
        from: PathBuf,
        /// The files, in order.
        to: Vec<UnpackEntry>,
    },
    /// The exception store in this file (of [`RootOp::MakeSnapshot`](crate::RootOp::MakeSnapshot))
    /// is valid again, if the kernel invalidated it because it could not write to it. The disk is
    /// as of the last write that the store holds completely.
    RestoreStore {
        /// The store's absolute path.
        path: PathBuf,
    },
}
