//! Processes with an unambiguous identity.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Owner;

/// A process: its pid, and what makes the pid unambiguous.
///
/// The start time is field 22 of `/proc/<pid>/stat` (clock ticks since boot), the boot id is
/// `/proc/sys/kernel/random/boot_id`; see proc(5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Its start time, in clock ticks since boot.
    pub start_time: u64,
    /// The boot of the host that it ran in.
    pub boot_id: String,
}

/// The description of a program to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// The program's absolute path.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Its working directory; its user need not be able to reach the folder by path.
    pub directory: PathBuf,
    /// The user that it runs as; `None` keeps ours. Supplementary groups are dropped.
    pub user: Option<Owner>,
    /// Whether it keeps the group of `/dev/kvm` when `user` is given.
    pub keep_kvm_group: bool,
    /// The FIFO that is its standard input; without one its input is empty. The FIFO is created
    /// anew, for the program's user alone. The program holds it open for reading and writing, so
    /// writers may come and go without an end of file. Reads never wait.
    pub input: Option<PathBuf>,
    /// The file that its output is appended to, and its errors, if they have no file of their own.
    pub log: PathBuf,
    /// The file that its errors are appended to.
    pub errors: Option<PathBuf>,
    /// The TAP that it inherits.
    pub tap: Option<Tap>,
    /// The systemd scope that it runs in, a unit's name without `.scope`; `None` keeps our cgroup.
    /// A name may be used again only when the processes of its last use have ended.
    /// [`Probe::Scopes`](crate::Probe::Scopes) tells whether the host has such scopes.
    pub scope: Option<String>,
    /// The jail that root runs instead, for a user who is not root: root's copy of Firecracker's
    /// jailer, with arguments that root chooses, and `directory` as the only folder of the host
    /// that is visible in it. `program`, `arguments`, `user` and `scope` have no effect then.
    pub jailed: Option<JailIdentity>,
}

/// The identity of a program that root jails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JailIdentity {
    /// Its name, which identifies its processes; [`Instance`](crate::Instance) derives it.
    pub name: String,
    /// Its user id, in the range of the instance. It is the group id, too.
    pub uid: u32,
}

/// The marks that distinguish the processes of one machine from all others on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its name: part of its units' names, and an argument of its program.
    pub name: String,
    /// The user that it may run as, besides ours.
    pub user: Option<u32>,
    /// Whether every process of that user belongs to the machine, whatever its name.
    pub alone: bool,
    /// The programs that count by the name; another program with that argument, such as a pager,
    /// does not.
    pub programs: Vec<PathBuf>,
}

/// A TAP that a program inherits as an open file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// The interface's name.
    pub name: String,
    /// The number of its descriptor in the program, at least 3.
    pub descriptor: i32,
}

/// The supported signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Asks it to end.
    Terminate,
    /// Kills it.
    Kill,
    /// Interrupts it, as ^C does.
    Interrupt,
    /// Hangs up.
    HangUp,
    /// Quits.
    Quit,
    /// User-defined 1.
    User1,
    /// User-defined 2.
    User2,
    /// Stops it until it is continued.
    Stop,
    /// Continues it.
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
