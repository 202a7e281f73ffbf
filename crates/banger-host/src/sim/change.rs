//! The changes to the simulated host.

use std::path::Path;

use super::{Sim, SimProcess, files, lock, network};
use crate::watch::Cancelled;
use crate::{
    Bytes, Change, Error, Exit, FileOp, Host, JailIdentity, Kind, Look as _, Op, Process, Result,
    Signal, Spawn, Watch,
};

impl Host for Sim {
    fn change_watched(&self, op: &Op, watch: Watch<'_>) -> Result<Change> {
        self.count(Some(op))?;
        let long = self.bytes_of(op);
        if let Some(whole) = long {
            // A long change can be cancelled halfway, and leaves nothing then.
            let done = whole / 2;
            if watch(Bytes { done, whole }).is_break() {
                return Err(Error::new(Kind::Cancelled, Cancelled.to_string()));
            }
        }
        let changed = self.change_at_once(op)?;
        if let Some(whole) = long {
            let _ = watch(Bytes { done: whole, whole });
        }
        Ok(changed)
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
        // As on a real host, at most one process runs as such a user.
        let user = |it: &JailIdentity| it.uid;
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
            boot_id: state.boot_id(),
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

impl Sim {
    fn change_at_once(&self, op: &Op) -> Result<Change> {
        let host = files::FileSystem {
            uid: self.uid(),
            is_full: lock(&self.inner.plan).free_mib == Some(0),
        };
        if matches!(op, Op::File(FileOp::CloneFile { .. })) && lock(&self.inner.plan).shares_nothing
        {
            let text = "the file system cannot share blocks";
            return Err(Error::new(Kind::Unsupported, text));
        }
        match op {
            Op::File(op) => files::change(&mut lock(&self.inner.state), &host, op),
            Op::Root(instance, op) => network::change(self, *instance, op),
        }
    }

    /// The bytes of a change that takes long.
    fn bytes_of(&self, op: &Op) -> Option<u64> {
        let state = lock(&self.inner.state);
        let length = |path: &Path| state.files.get(path).map(|file| file.length);
        match op {
            Op::File(FileOp::CopyFile { from, .. } | FileOp::UnpackFiles { from, .. }) => {
                length(from)
            }
            Op::File(FileOp::PackFiles { files, .. }) => {
                Some(files.iter().filter_map(|it| length(&it.path)).sum())
            }
            Op::File(_) | Op::Root(..) => None,
        }
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
