//! Processes, with an unambiguous identity.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Owner;

/// A process: its number, and what makes the number unique.
///
/// The start time is field 22 of `/proc/<pid>/stat` (clock ticks since boot), the boot id is
/// `/proc/sys/kernel/random/boot_id`; see proc(5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
    /// The boot of the host that it belongs to.
    pub boot_id: String,
}

/// What a program is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// The program's absolute path.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Where it starts; it need not be able to reach the folder by its path.
    pub directory: PathBuf,
    /// Whom it runs as; `None` is the user that we run as. Supplementary groups are dropped.
    pub user: Option<Owner>,
    /// The group of `/dev/kvm` is kept where `user` is given.
    pub keep_kvm_group: bool,
    /// The FIFO that is its standard input; without one there is nothing to read. It is made anew,
    /// for the program's user alone, and the program holds it open for reading and writing: it has
    /// no end, whoever writes to it comes and goes. Reading it never waits.
    pub input: Option<PathBuf>,
    /// The file that its output goes to, appended; and its errors, where they have no file.
    pub log: PathBuf,
    /// The file that its errors go to, appended.
    pub errors: Option<PathBuf>,
    /// A TAP to open and hand over.
    pub tap: Option<Tap>,
    /// The systemd scope that it runs in, a unit's name without `.scope`; `None` leaves it where
    /// we are. A name that was used before must not come again while its processes may still be
    /// ending. See [`Probe::Scopes`](crate::Probe::Scopes) for whether the host has such scopes.
    pub scope: Option<String>,
    /// What root runs in a jail instead, for a user who is not root: Firecracker's jailer, of
    /// root's own copies, with `directory` as the one folder of the host that is seen there, and
    /// with arguments of root's. `program`, `arguments`, `user` and `scope` say nothing then.
    pub jailed: Option<JailIdentity>,
}

/// What a program that root jails is called, and whom it runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JailIdentity {
    /// Its name, by which it is found: one that [`Instance`](crate::Instance) gives.
    pub name: String,
    /// Its user, who is its group, too: one of the range of the instance.
    pub uid: u32,
}

/// What tells the processes of one machine from all others on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its name: its units are called by it, and its program has it among its arguments.
    pub name: String,
    /// The user that it may run as, beside the one that we run as.
    pub user: Option<u32>,
    /// Whether whatever runs as that user is the machine's, whatever it is called.
    pub alone: bool,
    /// The programs that bear its name: what else was given it, such as a pager, is none of it.
    pub programs: Vec<PathBuf>,
}

/// A TAP handed to a program as an open file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// The interface's name.
    pub name: String,
    /// The descriptor number that the program finds it at, at least 3.
    pub descriptor: i32,
}

/// The supported signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Ask it to end.
    Terminate,
    /// End it.
    Kill,
    /// Interrupt it, as ^C does.
    Interrupt,
    /// Hang up.
    HangUp,
    /// Quit.
    Quit,
    /// User-defined 1.
    User1,
    /// User-defined 2.
    User2,
    /// Stop it until it is continued.
    Stop,
    /// Continue it.
    Continue,
}

/// The exit of a process; known only for children of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}
