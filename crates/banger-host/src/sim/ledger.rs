//! The ledger of forwarding on the simulated host: each step counts as a change that may fail.

use std::collections::BTreeSet;

use super::change::made;
use super::{Sim, lock, network};
use crate::ledger::{Ledger, LedgerHost};
use crate::{Change, Instance, Result};

impl Sim {
    /// Changes the ledger. Each step locks the state by itself, like the processes on a real host.
    pub(super) fn change_ledger(&self, change: impl FnOnce() -> Result<Change>) -> Result<Change> {
        let _held = lock(&self.inner.ledger);
        change()
    }
}

impl LedgerHost for Sim {
    fn ledger(&self) -> Result<Ledger> {
        self.awake()?;
        Ok(lock(&self.inner.state).ledger.clone())
    }

    fn record(&self, ledger: &Ledger) -> Result<()> {
        self.count(None)?;
        lock(&self.inner.state).ledger.clone_from(ledger);
        Ok(())
    }

    fn set_forwarding(&self, interface: &str, on: bool) -> Result<Change> {
        self.count(None)?;
        network::forward(&mut lock(&self.inner.state), interface, on)
    }

    fn lent(&self, instance: Instance) -> Result<BTreeSet<String>> {
        self.awake()?;
        let state = lock(&self.inner.state);
        let table = state.tables.get(&instance.table());
        Ok(table.map(|it| it.lent.clone()).unwrap_or_default())
    }

    fn lend(&self, instance: Instance, interfaces: &BTreeSet<String>) -> Result<Change> {
        self.count(None)?;
        let mut state = lock(&self.inner.state);
        if interfaces.is_empty() && !state.tables.contains_key(&instance.table()) {
            return Ok(Change::Already);
        }
        let table = state.tables.entry(instance.table()).or_default();
        let before = std::mem::replace(&mut table.lent, interfaces.clone());
        made(before != *interfaces)
    }

    fn is_accepted_by_docker(&self, instance: Instance) -> Result<bool> {
        self.awake()?;
        let state = lock(&self.inner.state);
        Ok(state.docker_user.contains(&instance.tap_prefix()))
    }

    fn accept_in_docker_user(&self, instance: Instance, on: bool) -> Result<Change> {
        self.count(None)?;
        let mut state = lock(&self.inner.state);
        made(match on {
            true => state.docker_user.insert(instance.tap_prefix()),
            false => state.docker_user.remove(&instance.tap_prefix()),
        })
    }
}
