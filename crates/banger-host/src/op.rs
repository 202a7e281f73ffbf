//! The closed list of changes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::MacAddress;

/// Whether a change had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not so, and is now.
    Made,
    /// It was so already.
    Already,
}

/// Who owns a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The numeric user id.
    pub uid: u32,
    /// The numeric group id.
    pub gid: u32,
}

/// A guest's TAP, with the filter that it is never without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestTap {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// The nft table that filters it, family inet.
    pub table: String,
    /// What the names of all TAPs that the table rules begin with.
    pub tap_prefix: String,
    /// The user whose VMM may open it.
    pub uid: u32,
    /// The host's side, the guest's gateway; it has it as a /32.
    pub host_address: Ipv4Addr,
    /// The guest's address: a /32 route leads to it, and no other may be a packet's source.
    pub guest_address: Ipv4Addr,
    /// The guest's MAC address: a permanent neighbour entry has it, so nobody asks for it.
    pub mac: MacAddress,
    /// Its largest packet, in bytes.
    pub mtu: u32,
}

/// One typed change to a host. Each says what shall be true afterwards, so each can be repeated.
///
/// An `owner` of `None` leaves files with the user that we run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
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
    /// The exception store in this file (of [`Op::MakeSnapshot`]), if the kernel has given it up
    /// because it could not write to it, is good again: the disk is as of the last write that the
    /// store has whole.
    RestoreStore {
        /// The store's absolute path.
        path: PathBuf,
    },
    /// A block device at [`snapshot_node`](crate::snapshot_node) shows the base, zeros behind it up
    /// to its size, and over both what was written to it, which `cow` keeps. The base is never
    /// written. One that is there grows, and never shrinks.
    MakeSnapshot {
        /// `banger-1-<4 hexadecimal digits>-<8 hexadecimal digits>`.
        name: String,
        /// What it begins as; shared by all snapshots over it.
        base: PathBuf,
        /// What is written to it: a file at least [`length_mib`](crate::cow::length_mib) long,
        /// empty at first.
        cow: PathBuf,
        /// Its size in MiB.
        size_mib: u64,
        /// Who alone may use it.
        owner: Option<Owner>,
    },
    /// No such device exists, nor a loop device of its own; the base's goes with its last snapshot.
    /// What was written stays in `cow`.
    RemoveSnapshot {
        /// Its name.
        name: String,
    },
    /// The TAP exists, filtered before it is up: the nft table lets it send from the guest's address
    /// only, and two programs on the TAP itself keep what matters of that when the table is gone. One
    /// permanent neighbour entry says who is behind it.
    /// A new TAP forwards nothing; [`Op::SetForwarding`] changes that.
    MakeTap(GuestTap),
    /// No TAP of this name exists.
    RemoveTap {
        /// Its name.
        name: String,
    },
    /// The nft table exists with all its chains and rules, and lets this TAP send from this
    /// address only.
    AllowGuest {
        /// The table's name, family inet.
        table: String,
        /// What the names of all TAPs that the table rules begin with.
        tap_prefix: String,
        /// The TAP.
        tap: String,
        /// The one source address that it may use.
        address: Ipv4Addr,
    },
    /// The nft table, if it exists, knows nothing of this TAP; a table without any guest is gone.
    /// [`Kind::Busy`](crate::Kind::Busy) while the TAP exists: it would be up without its filter.
    ForbidGuest {
        /// The table's name.
        table: String,
        /// The TAP.
        tap: String,
        /// Its address.
        address: Ipv4Addr,
    },
    /// The nft table, which exists with all its rules, forwards and masquerades what this address sends.
    AllowNat {
        /// The table's name.
        table: String,
        /// What the names of all TAPs that the table rules begin with.
        tap_prefix: String,
        /// The guest's address.
        address: Ipv4Addr,
    },
    /// The nft table, if it exists, forwards nothing that this address sends.
    ForbidNat {
        /// The table's name.
        table: String,
        /// The guest's address.
        address: Ipv4Addr,
    },
    /// The interface forwards IPv4 packets that arrive on it, or does not.
    SetForwarding {
        /// The interface's name.
        interface: String,
        /// Whether it forwards.
        on: bool,
    },
    /// The nft table, which exists with all its rules, has what comes in by one of these interfaces
    /// forwarded to guests of any banger and to nobody else. No other interface is kept so. Without
    /// any interface, a table that does not exist is not made.
    KeepToGuests {
        /// The table's name.
        table: String,
        /// What the names of all TAPs that the table rules begin with.
        tap_prefix: String,
        /// The interfaces that forward because guests need it.
        interfaces: BTreeSet<String>,
    },
    /// Where Docker keeps its `DOCKER-USER` chain, it accepts what goes from and to these TAPs,
    /// or holds no rule of ours. Where there is no such chain nothing is done.
    AcceptInDockerUser {
        /// What the names of all our TAPs begin with.
        tap_prefix: String,
        /// Whether the rules are there.
        on: bool,
    },
}
