//! What each change does to the model.

use std::path::Path;

use super::{Sim, SimFile, SimProcess, SimState, lock, snapshot};
use crate::{Change, Error, Exit, Host, Jailed, Kind, Op, Process, Result, Signal, Spawn};

const MIB: u64 = 1 << 20;

impl Host for Sim {
    fn change(&self, op: &Op) -> Result<Change> {
        self.count(Some(op))?;
        let is_full = lock(&self.inner.plan).free_mib == Some(0);
        let mut state = lock(&self.inner.state);
        if is_full && takes_space(&state, op) {
            return Err(Error::new(Kind::NoSpace, "No space left on device"));
        }
        match op {
            Op::RestoreStore { .. } | Op::MakeSnapshot { .. } | Op::RemoveSnapshot { .. } => {
                snapshot::change(&mut state, op)
            }
            Op::MakeTap(_)
            | Op::RemoveTap { .. }
            | Op::AllowGuest { .. }
            | Op::ForbidGuest { .. }
            | Op::AllowNat { .. }
            | Op::ForbidNat { .. }
            | Op::SetForwarding { .. }
            | Op::KeepToGuests { .. }
            | Op::AcceptInDockerUser { .. } => change_network(&mut state, op),
            Op::MakeDirectory { .. }
            | Op::RemoveDirectory { .. }
            | Op::WriteFile { .. }
            | Op::WriteScratch { .. }
            | Op::RemoveFile { .. }
            | Op::RenameFile { .. }
            | Op::LinkFile { .. }
            | Op::MakeLink { .. }
            | Op::MakeNode { .. }
            | Op::CloneFile { .. }
            | Op::CopyFile { .. }
            | Op::MakeFilesystem { .. }
            | Op::GrowFile { .. }
            | Op::PunchHole { .. } => {
                let change = change_files(&mut state, op)?;
                note_owner(&mut state, op, change);
                Ok(change)
            }
        }
    }

    fn spawn(&self, spawn: &Spawn) -> Result<Process> {
        self.count(None)?;
        let mut state = lock(&self.inner.state);
        if !state.directories.contains(&spawn.directory) {
            return Err(missing(&spawn.directory));
        }
        if let Some(tap) = &spawn.tap
            && !state.taps.contains_key(&tap.name)
        {
            return Err(Error::new(
                Kind::Missing,
                format!("there is no TAP `{}`", tap.name),
            ));
        }
        // As root has it: one process at most runs as a user.
        let user = |it: &Jailed| it.uid;
        if let Some(uid) = spawn.jailed.as_ref().map(user)
            && state
                .processes
                .values()
                .any(|it| it.exit.is_none() && it.jailed.as_ref().map(user) == Some(uid))
        {
            let text = format!("a process runs as user {uid} already");
            return Err(Error::new(Kind::Busy, text));
        }
        let pid = state
            .processes
            .keys()
            .next_back()
            .map_or(1000, |last| last + 1);
        let process = SimProcess {
            program: spawn.program.clone(),
            user: spawn
                .user
                .map(|owner| owner.uid)
                .or(spawn.jailed.as_ref().map(user)),
            arguments: spawn.arguments.clone(),
            directory: spawn.directory.clone(),
            stopped: false,
            stalled: false,
            exit: None,
            jailed: spawn.jailed.clone(),
        };
        state.processes.insert(pid, process);
        Ok(Process {
            pid,
            start_time: u64::from(pid),
            boot_id: "sim".to_owned(),
        })
    }

    fn signal(&self, process: &Process, signal: Signal) -> Result<Change> {
        self.count(None)?;
        let mut state = lock(&self.inner.state);
        let Some(entry) = state
            .processes
            .get_mut(&process.pid)
            .filter(|it| it.exit.is_none())
        else {
            return Ok(Change::Already);
        };
        let number = match signal {
            Signal::Kill => 9,
            Signal::Terminate => 15,
            Signal::Interrupt => 2,
            Signal::HangUp => 1,
            Signal::Quit => 3,
            Signal::User1 => 10,
            Signal::User2 => 12,
            Signal::Stop | Signal::Continue => {
                let stops = signal == Signal::Stop;
                return made(std::mem::replace(&mut entry.stopped, stops) != stops);
            }
        };
        entry.exit = Some(Exit::Signal(number));
        drop(state);
        self.inner.ended.notify_all();
        Ok(Change::Made)
    }
}

/// Keeps who owns what was made, and forgets it of what is gone.
fn note_owner(state: &mut SimState, op: &Op, change: Change) {
    if let Op::MakeDirectory { path, owner, .. }
    | Op::WriteFile { path, owner, .. }
    | Op::WriteScratch { path, owner, .. }
    | Op::MakeFilesystem { path, owner, .. }
    | Op::CloneFile {
        to: path, owner, ..
    }
    | Op::CopyFile {
        to: path, owner, ..
    } = op
        && let Some(owner) = owner
        && (change == Change::Made || matches!(op, Op::MakeDirectory { .. }))
    {
        state.owners.insert(path.clone(), owner.uid);
    }
    let SimState {
        owners,
        files,
        directories,
        ..
    } = state;
    owners.retain(|path, _| files.contains_key(path) || directories.contains(path));
}

/// Whether a file system without a free block refuses this change. An entry of a folder that is
/// there, and a hole, take none.
fn takes_space(state: &SimState, op: &Op) -> bool {
    match op {
        Op::WriteFile { .. }
        | Op::WriteScratch { .. }
        | Op::CloneFile { .. }
        | Op::CopyFile { .. } => true,
        Op::MakeDirectory { path, .. } => !state.directories.contains(path),
        Op::MakeFilesystem { path, .. } => !state.files.contains_key(path),
        _ => false,
    }
}

pub(super) fn missing(path: &Path) -> Error {
    Error::new(Kind::Missing, format!("there is no `{}`", path.display()))
}

pub(super) fn made(changed: bool) -> Result<Change> {
    Ok(if changed {
        Change::Made
    } else {
        Change::Already
    })
}

/// Puts a file in place; its folder must be there, as on a real host.
fn put(state: &mut SimState, path: &Path, file: SimFile) -> Result<Change> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if folder != Path::new("/") && !state.directories.contains(folder) {
        return Err(missing(folder));
    }
    made(state.files.insert(path.to_owned(), file.clone()) != Some(file))
}

fn change_files(state: &mut SimState, op: &Op) -> Result<Change> {
    match op {
        Op::MakeDirectory { path, .. } => {
            let above = path.ancestors().filter(|it| *it != Path::new("/"));
            made(above.fold(false, |changed, it| {
                state.directories.insert(it.to_owned()) | changed
            }))
        }
        Op::RemoveDirectory { path } => {
            let before = state.directories.len();
            state.directories.retain(|it| !it.starts_with(path));
            state.files.retain(|it, _| !it.starts_with(path));
            made(before != state.directories.len())
        }
        Op::WriteFile { path, contents, .. } | Op::WriteScratch { path, contents, .. } => {
            let file = SimFile {
                length: contents.len() as u64,
                contents: contents.clone(),
            };
            put(state, path, file)
        }
        Op::RemoveFile { path } => made(state.files.remove(path).is_some()),
        Op::RenameFile { from, to } => match state.files.remove(from) {
            Some(file) => {
                state.files.insert(to.clone(), file);
                Ok(Change::Made)
            }
            None if state.files.contains_key(to) => Ok(Change::Already),
            None => Err(missing(from)),
        },
        Op::LinkFile { from, to }
        | Op::CloneFile { from, to, .. }
        | Op::CopyFile { from, to, .. } => {
            let file = state
                .files
                .get(from)
                .cloned()
                .ok_or_else(|| missing(from))?;
            put(state, to, file)
        }
        Op::MakeNode { path, .. } => put(state, path, SimFile::default()),
        Op::MakeLink { path, target } => {
            let contents = target.display().to_string().into_bytes();
            let length = contents.len() as u64;
            put(state, path, SimFile { length, contents })
        }
        Op::MakeFilesystem { path, size_mib, .. } => {
            if state.files.contains_key(path) {
                return Ok(Change::Already);
            }
            put(
                state,
                path,
                SimFile {
                    length: size_mib * MIB,
                    contents: Vec::new(),
                },
            )
        }
        Op::GrowFile { path, size_mib } => {
            let file = state.files.get_mut(path).ok_or_else(|| missing(path))?;
            let longer = file.length < size_mib * MIB;
            file.length = file.length.max(size_mib * MIB);
            made(longer)
        }
        _ => Ok(Change::Already),
    }
}

fn change_network(state: &mut SimState, op: &Op) -> Result<Change> {
    match op {
        Op::MakeTap(tap) => {
            let table = state.tables.entry(tap.table.clone()).or_default();
            let mut changed = table.guests.insert((tap.name.clone(), tap.guest_address));
            changed |= state.taps.insert(tap.name.clone(), tap.clone()).as_ref() != Some(tap);
            state.forwarding.entry(tap.name.clone()).or_insert(false);
            made(state.harmed_taps.remove(&tap.name) || changed)
        }
        Op::RemoveTap { name } => {
            let used = state.processes.values().any(|it| {
                it.exit.is_none() && it.arguments.iter().any(|argument| argument == name)
            });
            if used {
                return Err(Error::new(Kind::Busy, format!("TAP `{name}` is in use")));
            }
            state.forwarding.remove(name);
            state.harmed_taps.remove(name);
            made(state.taps.remove(name).is_some())
        }
        Op::AllowGuest {
            table,
            tap,
            address,
            ..
        } => {
            let table = state.tables.entry(table.clone()).or_default();
            made(table.guests.insert((tap.clone(), *address)))
        }
        Op::ForbidGuest {
            table: name,
            tap,
            address,
        } => {
            if state.taps.contains_key(tap) {
                let text = format!("TAP `{tap}` would be without its filter");
                return Err(Error::new(Kind::Busy, text));
            }
            let Some(table) = state.tables.get_mut(name) else {
                return Ok(Change::Already);
            };
            let changed = table.guests.remove(&(tap.clone(), *address));
            if table.guests.is_empty() {
                state.tables.remove(name);
            }
            made(changed)
        }
        Op::AllowNat { table, address, .. } => made(
            state
                .tables
                .entry(table.clone())
                .or_default()
                .nat
                .insert(*address),
        ),
        Op::ForbidNat { table, address } => made(
            state
                .tables
                .get_mut(table)
                .is_some_and(|table| table.nat.remove(address)),
        ),
        Op::SetForwarding { interface, on } => match state.forwarding.get_mut(interface) {
            Some(now) => made(std::mem::replace(now, *on) != *on),
            None if !on => Ok(Change::Already),
            None => Err(Error::new(
                Kind::Missing,
                format!("there is no interface `{interface}`"),
            )),
        },
        Op::KeepToGuests {
            table, interfaces, ..
        } => {
            if interfaces.is_empty() && !state.tables.contains_key(table) {
                return Ok(Change::Already);
            }
            let table = state.tables.entry(table.clone()).or_default();
            let before = std::mem::replace(&mut table.lent, interfaces.clone());
            made(before != *interfaces)
        }
        Op::AcceptInDockerUser {
            tap_prefix,
            on: true,
        } => made(state.docker_user.insert(tap_prefix.clone())),
        Op::AcceptInDockerUser {
            tap_prefix,
            on: false,
        } => made(state.docker_user.remove(tap_prefix)),
        _ => Ok(Change::Already),
    }
}
