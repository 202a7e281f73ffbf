//! Which interfaces forward because users of ours need it, and what they did before.
//!
//! An interface of the host belongs to nobody, so no user may switch it as she likes. It is
//! switched on only while the host reaches something by it, and written down first: what it was,
//! and who needs it. It is put back when the last who needs it says so, if it was off before and
//! nobody has switched on forwarding for the whole host since.
//!
//! ```text
//! on:   a way out? ─► write down (what it was, this user) ─► kept to guests ─► on
//! off:  strike the user out ─► nobody left, and it was off? ─► off ─► forget it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::judge::refuse;
use crate::{Change, Claim, Error, Host, Instance, Kind, Op, Result, RootOp};

/// What was switched on, and for whom.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The boot that it belongs to; another boot has forgotten all of it.
    boot_id: String,
    interfaces: BTreeMap<String, ForwardingEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForwardingEntry {
    /// Whether it forwarded before.
    was: bool,
    /// The users whose guests need it.
    users: BTreeSet<u32>,
}

/// The record, held by one at a time, of all the programs that serve a user.
#[derive(Debug)]
pub(super) struct Forwarding {
    folder: PathBuf,
}

impl Forwarding {
    /// Keeps its record in this folder, which only root may write.
    pub(super) fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Makes an interface forward for this user, or no more.
    pub(super) fn set(
        &self,
        host: &dyn Host,
        claim: &Claim,
        interface: &str,
        on: bool,
    ) -> Result<Change> {
        let _held = self.hold()?;
        let mut record = self.read(host)?;
        let forwards = host.forwarding(interface)?;
        if on {
            self.switch_on(host, claim, interface, forwards, &mut record)
        } else {
            self.give_back(host, claim.uid, interface, &mut record)
        }
    }

    /// Has what this user made forward be forwarded to guests only.
    pub(super) fn keep_to_guests(&self, host: &dyn Host, claim: &Claim) -> Result<Change> {
        let _held = self.hold()?;
        keep(host, claim, &self.read(host)?)
    }

    /// The interfaces that are kept to guests now, whoever needs them.
    pub(super) fn kept(&self, host: &dyn Host) -> Result<BTreeSet<String>> {
        if !self.folder.is_dir() {
            return Ok(BTreeSet::new());
        }
        let _held = self.hold()?;
        lent(host, &self.read(host)?, |_| true)
    }

    /// Gives back all that this user needed.
    pub(super) fn leave(&self, host: &dyn Host, uid: u32) -> Result<()> {
        let _held = self.hold()?;
        let mut record = self.read(host)?;
        let names: Vec<String> = record.interfaces.keys().cloned().collect();
        for name in names {
            self.give_back(host, uid, &name, &mut record)?;
        }
        Ok(())
    }

    fn switch_on(
        &self,
        host: &dyn Host,
        claim: &Claim,
        interface: &str,
        forwards: Option<bool>,
        record: &mut Record,
    ) -> Result<Change> {
        if !host.ways_out()?.iter().any(|it| it == interface) {
            // What it does already needs no leave of ours.
            return match forwards {
                Some(true) => Ok(Change::Already),
                Some(false) | None => Err(refuse(
                    interface,
                    "an interface by which the host reaches something",
                )),
            };
        }
        let need = record
            .interfaces
            .entry(interface.to_owned())
            .or_insert_with(|| ForwardingEntry {
                was: forwards.unwrap_or(false),
                users: BTreeSet::new(),
            });
        if need.users.insert(claim.uid) {
            self.write(record)?;
        }
        keep(host, claim, record)?;
        switch(host, interface, true)
    }

    fn give_back(
        &self,
        host: &dyn Host,
        uid: u32,
        interface: &str,
        record: &mut Record,
    ) -> Result<Change> {
        let Some(need) = record.interfaces.get_mut(interface) else {
            return Ok(Change::Already);
        };
        if !need.users.remove(&uid) {
            return Ok(Change::Already);
        }
        let mut change = Change::Already;
        if need.users.is_empty() {
            if !need.was && !host.forwards_everywhere()? {
                change = switch(host, interface, false)?;
            }
            record.interfaces.remove(interface);
        }
        self.write(record)?;
        Ok(change)
    }

    /// Waits for whoever else has the record.
    fn hold(&self) -> Result<File> {
        let path = self.folder.join("forwarding.lock");
        let map_io_error = |cause| Error::io(format!("lock `{}`", path.display()), cause);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(map_io_error)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|cause| map_io_error(cause.into()))?;
        Ok(file)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("forwarding.json")
    }

    fn read(&self, host: &dyn Host) -> Result<Record> {
        let path = self.path();
        let boot_id = host.boot_id()?;
        let record = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|cause| {
                Error::new(Kind::Other, cause.to_string())
                    .within(format!("read `{}`", path.display()))
                    .hint(format!("remove it: sudo rm {}", path.display()))
            })?,
            Err(cause) if cause.kind() == ErrorKind::NotFound => Record::default(),
            Err(cause) => return Err(Error::io(format!("read `{}`", path.display()), cause)),
        };
        if record.boot_id == boot_id {
            return Ok(record);
        }
        Ok(Record {
            boot_id,
            interfaces: BTreeMap::new(),
        })
    }

    fn write(&self, record: &Record) -> Result<()> {
        let path = self.path();
        let fresh = self.folder.join("forwarding.json.new");
        replace(&fresh, &path, record)
            .map_err(|cause| Error::io(format!("write `{}`", path.display()), cause))
    }
}

/// What was off before, and is on for those users whom `needs` picks.
fn lent(
    host: &dyn Host,
    record: &Record,
    needs: impl Fn(&ForwardingEntry) -> bool,
) -> Result<BTreeSet<String>> {
    if host.forwards_everywhere()? {
        // Somebody else wants it so.
        return Ok(BTreeSet::new());
    }
    let own = record.interfaces.iter();
    let own = own.filter(|(_, need)| !need.was && needs(need));
    Ok(own.map(|(name, _)| name.clone()).collect())
}

fn keep(host: &dyn Host, claim: &Claim, record: &Record) -> Result<Change> {
    let interfaces = lent(host, record, |need| need.users.contains(&claim.uid))?;
    let op = RootOp::KeepToGuests { interfaces };
    host.change(&Op::Root(claim.instance(), op))
}

fn switch(host: &dyn Host, interface: &str, on: bool) -> Result<Change> {
    let interface = interface.to_owned();
    let op = RootOp::SetForwarding { interface, on };
    // Any instance: an interface of the host is nobody's.
    host.change(&Op::Root(Instance::new(0, Path::new("/")), op))
}

fn replace(fresh: &Path, path: &Path, record: &Record) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(fresh)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}
