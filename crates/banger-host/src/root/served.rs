//! One user whom root serves: what she asks is judged, done, and answered.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::files;
use super::forwarding::Forwarding;
use super::judge::{self, Allowed, Answerable};
use super::message::{Hello, PROTOCOL, Reply, Request, RootLook, RootOp, tell};
use crate::linux::snapshot;
use crate::{Change, Claim, Error, Host, Kind, Result};

/// The user, and the host that is changed for her.
#[derive(Debug)]
pub(crate) struct Served {
    claim: Claim,
    host: Box<dyn Host>,
    forwarding: Forwarding,
    make_snapshot: MakeSnapshot,
}

/// A host is changed by paths, and here there are none: how a snapshot is made of open files.
pub(super) type MakeSnapshot = fn(&snapshot::Wanted) -> Result<Change>;

impl Served {
    /// Changes this host by this claim; what is remembered lies in `folder`.
    pub(super) fn new(
        claim: Claim,
        host: Box<dyn Host>,
        make_snapshot: MakeSnapshot,
        folder: impl Into<PathBuf>,
    ) -> Self {
        Self {
            claim,
            host,
            forwarding: Forwarding::new(folder),
            make_snapshot,
        }
    }

    pub(crate) fn uid(&self) -> u32 {
        self.claim.uid
    }

    /// Answers one message. Whoever has not greeted is only greeted.
    pub(super) fn answer(
        &self,
        request: Request,
        descriptors: &[OwnedFd],
        greeted: &mut bool,
    ) -> Reply {
        let done = match request {
            Request::Hello { protocol } => self.greet(protocol).inspect(|_| *greeted = true),
            _ if !*greeted => Err(Error::new(Kind::Denied, "the first message is no greeting")),
            Request::Change(op) => self.change(op, descriptors).map(Reply::Changed),
            Request::Look(look) => self.look(look),
        };
        done.unwrap_or_else(|error| Reply::Error(tell(&error)))
    }

    fn greet(&self, protocol: u32) -> Result<Reply> {
        if protocol != PROTOCOL {
            let text = format!("root speaks version {PROTOCOL}, and the daemon {protocol}");
            return Err(Error::new(Kind::Unsupported, text)
                .hint("install the same version of both: banger system install"));
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
        let takes_files = matches!(allowed, Allowed::MakeSnapshot { .. });
        if !takes_files && !descriptors.is_empty() {
            let text = "it carries descriptors that nobody asked for";
            return Err(Error::new(Kind::Denied, text));
        }
        match allowed {
            Allowed::MakeSnapshot { name, size_mib } => {
                let wanted = files::snapshot(&self.claim, name, size_mib, descriptors)?;
                (self.make_snapshot)(&wanted)
            }
            Allowed::Change(op) => self.host.change(&op),
            Allowed::Forward { interface, on } => {
                self.forwarding
                    .set(&*self.host, self.claim.uid, &interface, on)
            }
        }
    }

    fn look(&self, look: RootLook) -> Result<Reply> {
        match judge::look(look, &self.claim)? {
            Answerable::FirewallHolds { table, guests, nat } => self
                .host
                .firewall_holds(&table, &guests, &nat)
                .map(Reply::Holds),
            Answerable::Snapshot(name) => self.host.snapshot(&name).map(Reply::Snapshot),
            Answerable::Probe(probe) => Ok(Reply::Found(self.host.probe(&probe))),
        }
    }
}
