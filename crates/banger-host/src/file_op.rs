//! Changes of files and directories, which a user makes with their own rights.

use std::path::PathBuf;

use crate::{Owner, Packed, Unpacked};

/// One change of files. Every path is absolute and has no `..`.
///
/// An `owner` of `None` leaves files with the user that we run as.
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
    /// The file has these contents, durably: temporary file, fsync, rename, fsync of the folder.
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
    /// The file has these contents, all at once but not durably: what is needed no longer than the
    /// host runs.
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
    /// What was called `from` is called `to`, durably, and needs no space for it. Where there is no
    /// `from` but a `to`, it was done before.
    RenameFile {
        /// Its absolute path.
        from: PathBuf,
        /// Its new one, in the same folder; a file that is there is replaced.
        to: PathBuf,
    },
    /// `to` is another name of the file `from`; whatever `to` named before, it does not now.
    LinkFile {
        /// The file that exists.
        from: PathBuf,
        /// The new name, on the same file system.
        to: PathBuf,
    },
    /// `path` is a symbolic link to `target`, which need not exist.
    MakeLink {
        /// Its absolute path; a file there is replaced.
        path: PathBuf,
        /// The text of the link.
        target: PathBuf,
    },
    /// `path` is a block device of its owner's alone, the same one as `device`.
    MakeNode {
        /// Its absolute path.
        path: PathBuf,
        /// The device that it is another name of.
        device: PathBuf,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// `to` is a fresh file that shares the blocks of `from` (FICLONE), or
    /// [`Kind::Unsupported`](crate::Kind::Unsupported) where the file system cannot. Its permission
    /// bits are those of `from` without writing by group and others, or 0600 where it is given an
    /// owner.
    CloneFile {
        /// The file to clone.
        from: PathBuf,
        /// The new file, replaced if it is there.
        to: PathBuf,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// `to` is a fresh copy of `from` in which holes stay holes. Its permission bits are those of
    /// `from` without writing by group and others, or 0600 where it is given an owner.
    CopyFile {
        /// The file to copy.
        from: PathBuf,
        /// The new file, replaced if it is there.
        to: PathBuf,
        /// Its owner.
        owner: Option<Owner>,
    },
    /// `path` is a sparse file with a fresh, empty ext4 file system. One that is there stays.
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
    /// The file is at least this long; what was added is a hole. It never shrinks.
    GrowFile {
        /// Its absolute path.
        path: PathBuf,
        /// Its least length in MiB.
        size_mib: u64,
    },
    /// The bytes of the file before `offset` take no space; its length stays.
    PunchHole {
        /// Its absolute path.
        path: PathBuf,
        /// Where what is kept begins, in bytes.
        offset: u64,
    },
    /// `to` is an [archive](crate::archive) of these files, all at once. Its permission bits are 0600.
    PackFiles {
        /// Its absolute path; a file that is there is replaced.
        to: PathBuf,
        /// What stands before the files.
        head: Vec<u8>,
        /// The files, in their order; they are not written meanwhile.
        files: Vec<Packed>,
    },
    /// These are the files of the archive `from`, all of which is right; otherwise none of them is
    /// there. Their permission bits are 0644.
    UnpackFiles {
        /// Its absolute path.
        from: PathBuf,
        /// The files, in their order.
        to: Vec<Unpacked>,
    },
    /// The exception store in this file (of [`RootOp::MakeSnapshot`](crate::RootOp::MakeSnapshot)), if the kernel has given it up
    /// because it could not write to it, is good again: the disk is as of the last write that the
    /// store has whole.
    RestoreStore {
        /// The store's absolute path.
        path: PathBuf,
    },
}
