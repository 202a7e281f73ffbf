//! The ledger of forwarding on this host: root's file, one for all users and daemons.
//!
//! ```text
//! /run/banger/forwarding-<network>.json    the ledger of one network namespace, by its inode; 0600
//! /run/banger/forwarding.lock              held while it is read, changed and written
//! /run/banger/forwarding.json              the record of an older banger-root, by users: adopted
//! ```
//!
//! `/run` is empty after a boot, and the settings are reset. The file has the boot's id all the
//! same, for a host that keeps its `/run`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::During as _;
use super::files::{self, absent};
use super::forwarding::{self, Setting};
use super::{Linux, docker};
use crate::instance::TAP;
use crate::ledger::{self, Ledger, LedgerHost, forwarding_taps};
use crate::{Change, Error, Instance, Kind, MachineId, Result, root_folder};

/// The ledger as a file.
#[derive(Debug, Serialize, Deserialize)]
struct LedgerFile {
    /// The boot that it belongs to; the next boot resets every setting.
    boot_id: String,
    #[serde(flatten)]
    ledger: Ledger,
}

/// The record of an older banger-root: each interface, with its old value and the users whose
/// guests need it.
#[derive(Debug, Deserialize)]
struct OlderFile {
    boot_id: String,
    interfaces: BTreeMap<String, OlderEntry>,
}

#[derive(Debug, Deserialize)]
struct OlderEntry {
    was: bool,
}

impl Linux {
    /// RootOp::HoldForwarding.
    pub(super) fn hold_forwarding(&self, instance: Instance, machine: MachineId) -> Result<Change> {
        root_folder::make(&self.run)?;
        let _held = self.lock_ledger()?;
        ledger::hold(self, instance, machine)
    }

    /// RootOp::ReleaseForwarding.
    pub(super) fn release_forwarding(
        &self,
        instance: Instance,
        machine: MachineId,
    ) -> Result<Change> {
        self.change_ledger(|| ledger::release(self, instance, machine))
    }

    /// RootOp::AdoptForwarding.
    pub(super) fn adopt_forwarding(
        &self,
        instance: Instance,
        off_before: &BTreeSet<String>,
    ) -> Result<Change> {
        root_folder::make(&self.run)?;
        let _held = self.lock_ledger()?;
        ledger::adopt(self, instance, off_before)
    }

    /// Restores the interfaces that only guests without a TAP hold.
    pub(crate) fn settle_forwarding(&self) -> Result<Change> {
        self.change_ledger(|| ledger::settle(self, &self.ledger()?, |_, _| false))
    }

    /// Restricts the ledger's interfaces to guests again, after the instance's table was removed.
    pub(crate) fn lend_again(&self, instance: Instance) -> Result<Change> {
        ledger::lend(self, instance, &self.ledger()?)
    }

    /// Applies a change to the ledger, if anything was ever recorded.
    fn change_ledger(&self, change: impl FnOnce() -> Result<Change>) -> Result<Change> {
        if !self.run.is_dir() {
            return Ok(Change::Already);
        }
        let _held = self.lock_ledger()?;
        change()
    }

    /// Takes the lock of the ledger, which no other process or thread holds then.
    fn lock_ledger(&self) -> Result<File> {
        let path = self.run.join("forwarding.lock");
        let describe = || format!("lock `{}`", path.display());
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .during(describe)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).during(describe)?;
        Ok(file)
    }

    /// The path of the ledger for this network namespace: settings of interfaces belong to a
    /// namespace, and several may share one `/run`.
    fn ledger_path(&self) -> Result<PathBuf> {
        let network = "/proc/thread-self/ns/net";
        let inode = fs::metadata(network).during(|| format!("examine `{network}`"))?;
        Ok(self.run.join(format!("forwarding-{}.json", inode.ino())))
    }

    fn older_path(&self) -> PathBuf {
        self.run.join("forwarding.json")
    }

    fn read_record<T: DeserializeOwned>(&self, path: &PathBuf) -> Result<Option<T>> {
        let describe = || format!("read `{}`", path.display());
        let Some(bytes) = absent(fs::read(path)).during(describe)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|cause| {
            Error::new(Kind::Other, cause.to_string())
                .within(describe())
                .hint(format!("remove it: sudo rm {}", path.display()))
        })
    }
}

impl LedgerHost for Linux {
    fn ledger(&self) -> Result<Ledger> {
        let file: Option<LedgerFile> = self.read_record(&self.ledger_path()?)?;
        let file = file.filter(|it| it.boot_id == self.boot_id);
        let mut ledger = file.map(|it| it.ledger).unwrap_or_default();
        let older: Option<OlderFile> = self.read_record(&self.older_path())?;
        if let Some(older) = older.filter(|it| it.boot_id == self.boot_id) {
            // Guests of these users hold every uplink, whichever interface they were recorded for.
            let was = older.interfaces.into_iter();
            let taps = forwarding_taps(self, TAP)?;
            ledger.add(was.map(|(name, entry)| (name, entry.was)).collect(), &taps);
        }
        Ok(ledger)
    }

    fn record(&self, ledger: &Ledger) -> Result<()> {
        let path = self.ledger_path()?;
        let file = LedgerFile {
            boot_id: self.boot_id.clone(),
            ledger: ledger.clone(),
        };
        let describe = || format!("write `{}`", path.display());
        let written = if ledger.interfaces.is_empty() {
            files::remove_file(&path)
        } else {
            let contents = serde_json::to_vec_pretty(&file)
                .map_err(|cause| Error::new(Kind::Other, cause.to_string()).within(describe()))?;
            files::write_file(&path, &contents, 0o600, None)
        };
        written.map_err(|error| error.within("record the forwarding of the host"))?;
        // The ledger now has its content.
        files::remove_file(&self.older_path()).map(drop)
    }

    fn set_forwarding(&self, interface: &str, on: bool) -> Result<Change> {
        forwarding::set(&Setting::Forwarding(interface), on)
    }

    fn lent(&self, instance: Instance) -> Result<BTreeSet<String>> {
        self.firewall.lent(&instance.table())
    }

    fn lend(&self, instance: Instance, interfaces: &BTreeSet<String>) -> Result<Change> {
        let (table, prefix) = (&instance.table(), &instance.tap_prefix());
        self.firewall.keep_to_guests(table, prefix, interfaces)
    }

    fn is_accepted_by_docker(&self, instance: Instance) -> Result<bool> {
        let prefix = instance.tap_prefix();
        self.docker.answer(&prefix, || docker::is_accepted(&prefix))
    }

    fn accept_in_docker_user(&self, instance: Instance, on: bool) -> Result<Change> {
        self.docker.forget();
        docker::accept(&instance.tap_prefix(), on)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
