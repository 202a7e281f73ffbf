//! Programs that outlive the daemon, with their own session and user, and nothing inherited.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::{Gid, Uid};

use super::children::stat;
use super::context::During as _;
use super::files::custom;
use super::scope::{ScopedCommand, Scopes};
use super::sys::{self, Child, HandedTap, User};
use super::tap;
use crate::command::{PATH, find_program};
use crate::{Error, Kind, Owner, Process, Result, Spawn, Tap};

/// The number of forks to try. Between our check and the fork, another thread may take the
/// descriptor number that the child needs.
const ATTEMPTS: usize = 16;

/// Host::spawn.
pub(super) fn spawn(spawn: &Spawn, boot_id: &str) -> Result<Process> {
    let describe = || format!("start `{}`", spawn.program.display());
    if let Some(jailed) = &spawn.jailed {
        let text = format!("only the root helper jails `{}`", jailed.name);
        let error = Error::new(Kind::Unsupported, text);
        return Err(error.hint("banger system install"));
    }
    let Some(program) = find_program(spawn.program.as_os_str()) else {
        return Err(Error::new(Kind::Missing, "there is no such program").within(describe()));
    };
    let wrapped = wrap(spawn, &program).map_err(|error| error.within(describe()))?;
    for _ in 0..ATTEMPTS {
        let mut command = prepare(spawn, &wrapped)?;
        let held = prepare_child(spawn, &wrapped, &mut command)?;
        let started = command.spawn();
        drop(held);
        let child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && spawn.tap.is_some() => {
                continue;
            }
            Err(error) => return Err(error).during(describe),
        };
        // Only we reap this child, so its number is its own even if it has ended already.
        let Some(stat) = stat(child.id()) else {
            return Err(Error::new(Kind::Other, "it is not in `/proc`").within(describe()));
        };
        let (pid, start_time) = (child.id(), stat.start_time);
        return Ok(Process {
            pid,
            start_time,
            boot_id: boot_id.to_owned(),
        });
    }
    let text = "the descriptor number for its TAP is always in use";
    Err(Error::new(Kind::Busy, text).within(describe()))
}

/// The program itself, or the command that starts it in its scope. If the manager has ended since
/// the scope was chosen, the program starts without one.
fn wrap(spawn: &Spawn, program: &Path) -> Result<ScopedCommand> {
    let scopes = Scopes::find(rustix::process::geteuid().as_raw());
    if let (Some(name), Ok(scopes)) = (&spawn.scope, scopes) {
        let groups = kvm_group(spawn.keep_kvm_group);
        let user = spawn.user.map(|owner| (owner, &groups[..]));
        return scopes.wrap(name, user, program, &spawn.arguments);
    }
    Ok(ScopedCommand {
        program: program.to_owned(),
        arguments: spawn.arguments.iter().map(Into::into).collect(),
        environment: Vec::new(),
        user: spawn.user,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is where programs that outlive us start"
)]
fn prepare(spawn: &Spawn, wrapped: &ScopedCommand) -> Result<Command> {
    let log = open_log(&spawn.log, spawn.user)?;
    let errors = match &spawn.errors {
        Some(path) => open_log(path, spawn.user)?,
        None => log
            .try_clone()
            .during(|| format!("open `{}`", spawn.log.display()))?,
    };
    let input = match &spawn.input {
        Some(path) => open_input(path, spawn.user)?.into(),
        None => Stdio::null(),
    };
    let mut command = Command::new(&wrapped.program);
    command
        .args(&wrapped.arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .envs(
            wrapped
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(input)
        .stdout(log)
        .stderr(errors);
    Ok(command)
}

/// Opens the log for appending, for the program's user alone. No link is followed, and a FIFO is
/// rejected.
pub(crate) fn open_log(path: &Path, user: Option<Owner>) -> Result<File> {
    let describe = || format!("open `{}`", path.display());
    let flags = custom(OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY);
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
        .during(describe)?;
    let found = file.metadata().during(describe)?;
    if !found.is_file() {
        return Err(Error::new(Kind::Other, "it is not a regular file").within(describe()));
    }
    // A later program of this user may open the log by its name. A file with a second name may be
    // another user's, so it keeps its owner.
    if let Some(user) = user.filter(|user| found.nlink() == 1 && found.uid() != user.uid) {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::fs::fchown(&file, Some(uid), Some(gid)).during(describe)?;
    }
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).during(describe)?;
    Ok(file)
}

/// Replaces the FIFO at `path`, for the program's user alone, and opens it for both directions.
pub(crate) fn open_input(path: &Path, user: Option<Owner>) -> Result<File> {
    let describe = || format!("make the FIFO `{}`", path.display());
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            return Err(cause).during(describe);
        }
        Ok(()) | Err(_) => {}
    }
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0).during(describe)?;
    let flags = custom(OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY);
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
        .during(describe)?;
    let found = file.metadata().during(describe)?;
    // The folder may belong to the user, who may have replaced the FIFO meanwhile.
    if !found.file_type().is_fifo() || found.nlink() != 1 {
        return Err(Error::new(Kind::Other, "it is another file").within(describe()));
    }
    if let Some(user) = user {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::fs::fchown(&file, Some(uid), Some(gid)).during(describe)?;
    }
    Ok(file)
}

/// Prepares the child's directory, user and TAP. The returned descriptors stay open until the fork.
fn prepare_child(
    spawn: &Spawn,
    wrapped: &ScopedCommand,
    command: &mut Command,
) -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&spawn.directory, flags, Mode::empty())
        .during(|| format!("open `{}`", spawn.directory.display()))?;
    let user = wrapped.user.map(|owner| User {
        uid: Uid::from_raw(owner.uid),
        gid: Gid::from_raw(owner.gid),
        supplementary: kvm_group(spawn.keep_kvm_group),
    });
    let (tap, held) = match &spawn.tap {
        Some(tap) => prepare_tap(tap).map(|(tap, held)| (Some(tap), held))?,
        None => (None, None),
    };
    sys::before_exec(
        command,
        Child {
            directory,
            user,
            tap,
        },
    );
    Ok(held)
}

fn kvm_group(keep: bool) -> Vec<Gid> {
    let group = keep.then(|| std::fs::metadata("/dev/kvm").ok()).flatten();
    group
        .map(|it| Gid::from_raw(it.gid()))
        .into_iter()
        .collect()
}

/// Opens the TAP. If the number that the child needs is free here, a placeholder holds it until the
/// fork, so that no other file of this process gets it.
fn prepare_tap(wanted: &Tap) -> Result<(HandedTap, Option<OwnedFd>)> {
    let describe = || format!("hand over the TAP `{}`", wanted.name);
    if wanted.descriptor < 3 {
        let text = format!("descriptor {} is a standard one", wanted.descriptor);
        return Err(Error::new(Kind::Other, text).within(describe()));
    }
    let tap = tap::open(&wanted.name)?;
    let held = rustix::io::fcntl_dupfd_cloexec(&tap, wanted.descriptor).during(describe)?;
    let held = Some(held).filter(|it| it.as_raw_fd() == wanted.descriptor);
    let before = sys::identity(wanted.descriptor);
    Ok((
        HandedTap {
            tap,
            number: wanted.descriptor,
            before,
        },
        held,
    ))
}
