//! The service for one user: it checks, applies and answers each request.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::PROGRAMS;
use super::judge::{self, PermittedChange, PermittedLook};
use super::message::{Hello, PROTOCOL, Reply, Request, RootLook, layers_of};
use super::{files, jailed, quota};
use crate::linux::probes::in_one_line;
use crate::linux::probes::jail::check_programs;
use crate::linux::snapshot;
use crate::linux::units::{self, Manager};
use crate::{Change, Claim, Error, Finding, Host, Kind, Op, Process, Result, RootOp};

/// A user's claim, and the host to change for them.
#[derive(Debug)]
pub(crate) struct ClaimedHost {
    claim: Claim,
    host: Box<dyn Host>,
    operations: FileOperations,
}

/// The operations on open files, which a [`Host`] would do by paths.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileOperations {
    pub(super) snapshot: fn(&snapshot::SnapshotSpec) -> Result<Change>,
    pub(super) jailed: fn(&jailed::JailSpec) -> Result<Process>,
}

impl ClaimedHost {
    /// The service for this claim, on this host.
    pub(super) fn new(claim: Claim, host: Box<dyn Host>, operations: FileOperations) -> Self {
        Self {
            claim,
            host,
            operations,
        }
    }

    pub(crate) fn uid(&self) -> u32 {
        self.claim.uid
    }

    /// Answers one message of a client whose process has this group. The greeting must come first.
    pub(super) fn answer(
        &self,
        request: Request,
        descriptors: &[OwnedFd],
        group: u32,
        greeted: &mut bool,
    ) -> Reply {
        let done = match request {
            Request::Hello { protocol } => self.greet(protocol).inspect(|_| *greeted = true),
            _ if !*greeted => Err(Error::new(
                Kind::Denied,
                "the first message is not a greeting",
            )),
            Request::Change(op) => self.change(op, descriptors).map(Reply::Changed),
            Request::StartJailed(jailed) => judge::jailed(jailed, &self.claim)
                .and_then(|it| quota::jail(it.uid, &self.claim).map(|()| it))
                .and_then(|it| files::jailed(&self.claim, it, group, descriptors))
                .and_then(|wanted| (self.operations.jailed)(&wanted))
                .map(Reply::Started),
            Request::SignalJailed { process, signal } => need_none(descriptors)
                .and_then(|()| jailed::signal(&process, signal, &self.claim))
                .map(Reply::Changed),
            Request::Look(look) => self.look(look, descriptors),
        };
        done.unwrap_or_else(|error| Reply::Error(layers_of(&error)))
    }

    fn greet(&self, protocol: u32) -> Result<Reply> {
        if protocol != PROTOCOL {
            let text = format!(
                "the root helper has version {PROTOCOL} of its protocol, and the daemon version {protocol}"
            );
            // A daemon with an older protocol has run since before the installation.
            let hint = if protocol < PROTOCOL {
                "restart the daemon: banger daemon stop"
            } else {
                "banger system install"
            };
            return Err(Error::new(Kind::Unsupported, text).hint(hint));
        }
        Ok(Reply::Hello(Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            claim: self.claim.clone(),
            instance: self.claim.instance().digits(),
        }))
    }

    fn change(&self, op: RootOp, descriptors: &[OwnedFd]) -> Result<Change> {
        let allowed = judge::change(op, &self.claim)?;
        let takes_files = matches!(allowed, PermittedChange::MakeSnapshot { .. });
        if !takes_files {
            need_none(descriptors)?;
        }
        match allowed {
            PermittedChange::MakeSnapshot { name, size_mib } => {
                let wanted = files::snapshot(&self.claim, name, size_mib, descriptors)?;
                quota::snapshot(&wanted, &self.claim, &*self.host)?;
                (self.operations.snapshot)(&wanted)
            }
            PermittedChange::Change(op) => {
                let instance = self.claim.instance();
                quota::change(&op, &self.claim, &*self.host)?;
                if let RootOp::RemoveSnapshot { machine } = &op {
                    // The user's manager counts, too; the host's own search covers only the
                    // system's.
                    let name = instance.name(*machine);
                    units::need_none(&name, &[Manager::User(self.claim.uid)])?;
                }
                self.host.change(&Op::Root(instance, op))
            }
        }
    }

    fn look(&self, look: RootLook, descriptors: &[OwnedFd]) -> Result<Reply> {
        match judge::look(look, &self.claim)? {
            PermittedLook::FirewallHolds { table, guests, nat } => self
                .host
                .firewall_holds(&table, &guests, &nat)
                .map(Reply::Holds),
            PermittedLook::ForwardingHolds => self
                .host
                .forwarding_holds(self.claim.instance())
                .map(Reply::Holds),
            PermittedLook::Snapshot(name) => self.host.snapshot(&name).map(Reply::Snapshot),
            PermittedLook::Jails => Ok(Reply::Found(jails(&self.claim, descriptors))),
            PermittedLook::Probe(probe) => Ok(Reply::Found(self.host.probe(&probe))),
        }
    }
}

fn need_none(descriptors: &[OwnedFd]) -> Result<()> {
    if descriptors.is_empty() {
        return Ok(());
    }
    let text = "it has descriptors that the request does not use";
    Err(Error::new(Kind::Denied, text))
}

/// Whether a machine in the passed folder can be jailed.
fn jails(claim: &Claim, descriptors: &[OwnedFd]) -> Finding {
    let programs = Path::new(PROGRAMS);
    let found = jailed::check()
        .and_then(|_| files::jailable(claim, descriptors))
        .map_err(|error| {
            (
                in_one_line(&error),
                "findmnt --target ~/.local/state/banger".to_owned(),
            )
        })
        .and_then(|()| check_programs(&programs.join("firecracker"), &programs.join("jailer")));
    match found {
        Ok(version) => Finding::Good(format!("root jails with `{PROGRAMS}/jailer` {version}")),
        Err((found, hint)) => Finding::Bad { found, hint },
    }
}
