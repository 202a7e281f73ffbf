//! Starts Firecracker in a jail for a user, in a unit of its own, and signals it.
//!
//! ```text
//! banger-root ─► systemd-run ─► systemd ─► banger-root jail ─► jailer ─► Firecracker
//!      │  a socket, the machine's folder          ▲           all in one process
//!      └──────────────────────────────────────────┘
//! ```
//!
//! Making the jail needs privileges that this program has dropped, and the host's mounts, which a
//! confined unit does not see. So systemd starts a unit with just those privileges, and only with
//! the devices of a machine. The unit and its mounts end with the process.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::{Deserialize, Serialize};

use super::PROGRAMS;
use super::message::{ErrorLayer, error_of};
use super::wire::{Received, Wire, understand};
use crate::command::{PATH, find_program};
use crate::linux::children::{self, users};
use crate::linux::scope::BOOTED;
use crate::{Change, Claim, Error, JailIdentity, Kind, Owner, Process, Result, Signal};

/// How long making a jail may take, until Firecracker runs in it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The interval between two looks at the process.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// A machine to run in a jail.
#[derive(Debug)]
pub(crate) struct JailSpec {
    pub(super) jailed: JailIdentity,
    /// The owner of the machine's files.
    pub(super) owner: Owner,
    /// The machine's folder, as an O_PATH descriptor.
    pub(super) folder: OwnedFd,
    pub(super) output: File,
    pub(super) errors: File,
}

/// The order to the process that makes the jail.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) jailed: JailIdentity,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Its only answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum JailReply {
    /// The jail is ready, and the process with this id enters it.
    Ready(u32),
    Error(Vec<ErrorLayer>),
}

/// Starts Firecracker in a jail, and waits until it runs there, or has ended.
pub(super) fn start(wanted: &JailSpec) -> Result<Process> {
    let JailIdentity { name, uid } = &wanted.jailed;
    let describe = || format!("jail `{name}`");
    if let Some(pid) = running(*uid) {
        let text = format!("process {pid} runs as user {uid} already");
        return Err(Error::new(Kind::Busy, text).within(describe()));
    }
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let mut wire = Wire::new(ours);
    wire.set_patience(PATIENCE, PATIENCE)?;
    let mut waits = systemd_run(wanted, theirs).map_err(|error| error.within(describe()))?;
    let answer = converse(&mut wire, wanted);
    // It only waits for the end of the unit, so it is not needed any more.
    drop(waits.kill());
    drop(waits.wait());
    let process = answer.map_err(|error| error.within(describe()))?;
    settle(&process, *uid).map_err(|error| error.within(describe()))?;
    Ok(process)
}

/// Checks that jails can be made here, which needs a running systemd.
pub(super) fn check() -> Result<PathBuf> {
    if !Path::new(BOOTED).is_dir() {
        return Err(Error::new(
            Kind::Unsupported,
            "systemd, which starts jails, does not run here",
        ));
    }
    find_program("systemd-run".as_ref())
        .ok_or_else(|| Error::new(Kind::Missing, "there is no program `systemd-run`"))
}

/// The arguments of systemd-run(1) before the program.
fn unit(wanted: &JailSpec, instant: u128) -> Vec<String> {
    let name = &wanted.jailed.name;
    let mut words: Vec<String> = ["--quiet", "--collect", "--no-ask-password", "--pipe"]
        .map(str::to_owned)
        .to_vec();
    words.push(format!("--unit={name}-{instant}.service"));
    words.push(format!("--description=banger's VM {name}"));
    // The unit that stops VMs before a shutdown must stop before their own units do.
    let before = format!("Before=banger-shutdown@{}.service", wanted.owner.uid);
    words.push(format!("--property={before}"));
    for property in [
        // The capabilities for the mounts, the change of user, and the devices and folders of the
        // jail, which belong to that user.
        "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SETUID CAP_SETGID CAP_MKNOD CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE",
        "NoNewPrivileges=yes",
        "SystemCallArchitectures=native",
        "IPAddressDeny=any",
        "UMask=0077",
        "DevicePolicy=closed",
        "DeviceAllow=/dev/kvm rwm",
        "DeviceAllow=/dev/net/tun rwm",
        "DeviceAllow=/dev/urandom rwm",
        "DeviceAllow=/dev/userfaultfd rwm",
        "DeviceAllow=block-device-mapper rwm",
        "TasksMax=1024",
        "TimeoutStopSec=15s",
    ] {
        words.push(format!("--property={property}"));
    }
    words.push("--".to_owned());
    words
}

#[expect(
    clippy::disallowed_methods,
    reason = "what it starts is given a socket and open files, which `command::Command` has no way to"
)]
fn systemd_run(wanted: &JailSpec, socket: OwnedFd) -> Result<Child> {
    let of = |file: &File| {
        file.try_clone()
            .map_err(|cause| Error::io("take a descriptor", cause))
    };
    // A unit's name becomes free some time after the end of its process, so each start has a new
    // one.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let instant = Duration::try_from(now).unwrap_or_default().as_millis();
    Command::new(check()?)
        .args(unit(wanted, instant))
        .arg(Path::new(PROGRAMS).join("banger-root"))
        .arg("jail")
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .stdin(socket)
        .stdout(Stdio::from(of(&wanted.output)?))
        .stderr(Stdio::from(of(&wanted.errors)?))
        .spawn()
        .map_err(|cause| Error::io("run `systemd-run`", cause))
}

/// Sends the order to the process that makes the jail, and receives its process id.
fn converse(wire: &mut Wire, wanted: &JailSpec) -> Result<Process> {
    let order = Order {
        jailed: wanted.jailed.clone(),
        uid: wanted.owner.uid,
        gid: wanted.owner.gid,
    };
    let map_io_error = |cause: rustix::io::Errno| Error::io("speak with its unit", cause.into());
    wire.say(&order, &[wanted.folder.as_fd()])
        .map_err(map_io_error)?;
    let bytes = match wire.receive().map_err(map_io_error)? {
        Received::Message(bytes, _) => bytes,
        Received::End => {
            let text = "its unit ended before it was complete";
            return Err(Error::new(Kind::Other, text)
                .hint(format!("journalctl --unit '{}-*'", wanted.jailed.name)));
        }
        Received::Nothing => {
            return Err(Error::new(Kind::Busy, "its unit does not answer in time"));
        }
        Received::Refused(why) => return Err(Error::new(Kind::Other, why)),
    };
    let pid = match understand(&bytes)? {
        JailReply::Ready(pid) => pid,
        JailReply::Error(layers) => return Err(error_of(layers)),
    };
    let stat = children::stat(pid).ok_or_else(|| Error::new(Kind::Other, "it ended at once"))?;
    Ok(Process {
        pid,
        start_time: stat.start_time,
        boot_id: children::boot_id()?,
    })
}

/// Waits until the process runs as this user, or has ended; kills it after a time-out.
fn settle(process: &Process, uid: u32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let Some(handle) = children::open(process, &process.boot_id) else {
        return Ok(());
    };
    while users(process.pid).is_some_and(|it| it != [uid; 4]) {
        let mut wanted = [PollFd::new(&handle, PollFlags::IN)];
        // An interrupted poll is a short wait.
        if poll(&mut wanted, Some(&GLANCE)).is_ok_and(|ready| ready > 0) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            children::send(&handle, Signal::Kill)?;
            let text = "the jailer timed out";
            return Err(
                Error::new(Kind::Busy, text).hint("see whether the host is overloaded: uptime")
            );
        }
    }
    Ok(())
}

/// Signals a process in a jail of this user. It is recognized by its user id, in their range, which
/// no program can change.
pub(super) fn signal(process: &Process, signal: Signal, claim: &Claim) -> Result<Change> {
    let refused = |text: String| Err(Error::new(Kind::Denied, text));
    if !matches!(
        signal,
        Signal::Terminate | Signal::Kill | Signal::Stop | Signal::Continue
    ) {
        return refused(format!("{signal:?} is not a signal for a jailed process"));
    }
    // The pidfd is opened before the check: if the process ends, and another gets its number, the
    // signal goes nowhere.
    let Some(handle) = children::open(process, &children::boot_id()?) else {
        return Ok(Change::Already);
    };
    let range = claim.instance().users();
    match users(process.pid) {
        None => Ok(Change::Already),
        Some(users) if users.iter().all(|uid| range.contains(uid)) => {
            children::send(&handle, signal)
        }
        Some(_) => refused(format!(
            "process {} is not in a jail of this user",
            process.pid
        )),
    }
}

/// The id of a process that runs as this user.
fn running(uid: u32) -> Option<u32> {
    children::all().ok()?.find(|pid| {
        let runs = children::stat(*pid).is_some_and(|it| !it.ended);
        runs && users(*pid).is_some_and(|users| users.contains(&uid))
    })
}
