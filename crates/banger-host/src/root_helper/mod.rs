//! The Linux host of an ordinary user, which passes privileged changes to `banger-root`.
//!
//! Files, programs and signals need only the user's own privileges. TAPs, the firewall, forwarding
//! and snapshots go through [`root`](crate::root), which checks each request again.

mod connection;
mod look;

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use connection::Connection;
use rustix::fs::{Mode, OFlags};

use crate::linux::probes::{existing, in_one_line};
use crate::linux::snapshot;
use crate::linux::spawn::{open_input, open_log};
use crate::root::PROGRAMS;
use crate::root::message::{Reply, Request, RootLook};
use crate::root::wire::NOT_UNDERSTOOD;
use crate::{
    Change, Claim, Error, Finding, Host, Instance, JailIdentity, Kind, Linux, Look as _, Op,
    Process, Result, RootOp, Signal, Spawn, Watch,
};

/// The Linux machine, with root's help.
#[derive(Debug)]
pub struct DelegatingLinux {
    linux: Linux,
    connection: Connection,
}

impl DelegatingLinux {
    /// Connects to root for this user and this state directory.
    ///
    /// # Errors
    /// [`Kind::Missing`] if nothing is installed for this user, [`Kind::Busy`] if root is silent
    /// for a minute; others if it closes the connection, or serves another state directory. Each
    /// has a hint.
    pub fn connect(uid: u32, state: &Path) -> Result<Self> {
        let Some(claim) = Claim::of(uid)? else {
            let text = format!("the root helper is not installed for user {uid}");
            return Err(Error::new(Kind::Missing, text).hint("banger system install"));
        };
        if !claim.is_for(state) {
            let text = format!(
                "the root helper serves the state directory `{}`, and this one is `{}`",
                claim.state.display(),
                state.display()
            );
            return Err(Error::new(Kind::Other, text)
                .hint("banger system install changes that; a user has one at a time"));
        }
        Ok(Self {
            linux: Linux::new()?,
            connection: Connection::open(claim)?,
        })
    }

    /// The claim that root serves.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        self.connection.claim()
    }

    /// How root is reached, and its version, as text.
    #[must_use]
    pub fn described(&self) -> String {
        let claim = self.claim();
        format!(
            "{} serves {} with {} and DNS port {}",
            self.connection.described(),
            claim.user,
            claim.subnet,
            claim.dns_port
        )
    }

    /// Rejects another instance: root uses the claim's, whatever we would send.
    fn check_instance(&self, instance: Instance) -> Result<()> {
        if instance == self.claim().instance() {
            return Ok(());
        }
        let text = format!("root does not serve the instance `{}`", instance.digits());
        Err(Error::new(Kind::Denied, text))
    }

    fn holds(&self, look: RootLook) -> Result<bool> {
        match self.connection.ask(&Request::Look(look), &[])? {
            Reply::Holds(holds) => Ok(holds),
            other => Err(connection::unexpected(&other)),
        }
    }

    fn found(&self, look: RootLook) -> Finding {
        let error = match self.connection.ask(&Request::Look(look), &[]) {
            Ok(Reply::Found(finding)) => return finding,
            Ok(other) => connection::unexpected(&other),
            Err(error) => error,
        };
        let hint = error.hints().into_iter().next();
        Finding::Bad {
            found: error.to_string(),
            hint: hint.unwrap_or_else(|| format!("ls -l {PROGRAMS}")),
        }
    }

    fn change_by_root(&self, op: &RootOp) -> Result<Change> {
        if matches!(op, RootOp::AdoptForwarding { .. }) {
            // Root adopts its own older record, and does not trust a user's.
            return Ok(Change::Already);
        }
        let request = Request::Change(op.clone());
        let reply = if let RootOp::MakeSnapshot { machine, files, .. } = op {
            let uid = self.uid();
            if files.owner.is_some_and(|owner| owner.uid != uid) {
                let text = format!("the snapshot of `{machine}` is available to user {uid} only");
                return Err(Error::new(Kind::Denied, text));
            }
            let (base, cow) = snapshot::open(files)
                .map_err(|error| error.within(format!("make the snapshot of `{machine}`")))?;
            self.connection
                .ask(&request, &[base.as_fd(), cow.as_fd()])?
        } else {
            self.connection.ask(&request, &[])?
        };
        match reply {
            Reply::Changed(change) => Ok(change),
            other => Err(connection::unexpected(&other)),
        }
    }

    /// Root makes jails on this file system, with programs of its own.
    fn jails(&self, directory: &Path) -> Finding {
        let bad = |error: &Error| Finding::Bad {
            found: in_one_line(error),
            hint: match error.hints().into_iter().next() {
                Some(hint) => hint,
                None => "banger system install --firecracker … --jailer …".to_owned(),
            },
        };
        let folder = match name_only(existing(directory)) {
            Ok(folder) => folder,
            Err(error) => return bad(&error),
        };
        let request = Request::Look(RootLook::Jails);
        match self.connection.ask(&request, &[folder.as_fd()]) {
            Ok(Reply::Found(finding)) => finding,
            Ok(other) => bad(&connection::unexpected(&other)),
            Err(error) if error.to_string() == NOT_UNDERSTOOD => Finding::Bad {
                found: "the root helper is older than this daemon and makes no jails".to_owned(),
                hint: "banger system install --firecracker … --jailer …".to_owned(),
            },
            Err(error) => bad(&error),
        }
    }

    /// Makes root start a program in a jail.
    fn jail(&self, jailed: &JailIdentity, spawn: &Spawn) -> Result<Process> {
        let describe = || format!("jail `{}`", jailed.name);
        let folder = name_only(&spawn.directory).map_err(|error| error.within(describe()))?;
        let output = open_log(&spawn.log, None)?;
        let errors = open_log(spawn.errors.as_ref().unwrap_or(&spawn.log), None)?;
        // Root's side opens the FIFO in the folder, without a message; an older one leaves the
        // input empty.
        let _input = match &spawn.input {
            Some(path) => Some(open_input(path, None)?),
            None => None,
        };
        let request = Request::StartJailed(jailed.clone());
        let lent = [folder.as_fd(), output.as_fd(), errors.as_fd()];
        match self.connection.ask(&request, &lent) {
            Ok(Reply::Started(process)) => Ok(process),
            Ok(other) => Err(connection::unexpected(&other).within(describe())),
            Err(error) => Err(error.within(describe())),
        }
    }

    /// Root makes TAPs; we must be able to open them.
    fn network(&self) -> Finding {
        let tun = "/dev/net/tun";
        match File::options().read(true).write(true).open(tun) {
            Ok(_) => self.found(RootLook::Network),
            Err(cause) => Finding::Bad {
                found: format!("`{tun}` cannot be opened: {cause}"),
                hint: format!(
                    "udev makes it accessible to all users; without udev: sudo chmod 0666 {tun}"
                ),
            },
        }
    }
}

/// An O_PATH descriptor of a folder, which we need not be able to read.
fn name_only(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|cause| Error::io(format!("open `{}`", path.display()), cause.into()))
}

impl Host for DelegatingLinux {
    fn change_watched(&self, op: &Op, watch: Watch<'_>) -> Result<Change> {
        match op {
            Op::File(_) => self.linux.change_watched(op, watch),
            Op::Root(instance, op) => {
                self.check_instance(*instance)?;
                self.change_by_root(op)
            }
        }
    }

    fn spawn(&self, spawn: &Spawn) -> Result<Process> {
        match &spawn.jailed {
            Some(jailed) => self.jail(jailed, spawn),
            None => self.linux.spawn(spawn),
        }
    }

    fn signal(&self, process: &Process, signal: Signal) -> Result<Change> {
        let refused = match self.linux.signal(process, signal) {
            // A jailed process runs as a user of its own, which root may signal for us.
            Err(error) if error.kind() == Kind::Denied => error,
            done => return done,
        };
        let request = Request::SignalJailed {
            process: process.clone(),
            signal,
        };
        match self.connection.ask(&request, &[]) {
            Ok(Reply::Changed(change)) => Ok(change),
            Ok(other) => Err(connection::unexpected(&other)),
            // An older root has no jails, so the process is not in one.
            Err(error) if error.to_string() == NOT_UNDERSTOOD => Err(refused),
            Err(error) => Err(error.within(format!("signal process {}", process.pid))),
        }
    }
}
