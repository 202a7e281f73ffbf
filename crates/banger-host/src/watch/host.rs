//! A host whose long changes are watched.

use std::fmt;
use std::net::Ipv4Addr;

use super::Watch;
use crate::look::{ask_field, ask_field_without_privileges};
use crate::{
    Change, Finding, Host, Instance, Look, Op, Probe, Process, Result, Signal, Snapshot, Spawn,
};

/// Another host, with a watch on each of its changes. Code that changes a host need not know that
/// somebody watches.
pub struct WatchedHost<'h> {
    host: &'h dyn Host,
    watch: Watch<'h>,
}

impl<'h> WatchedHost<'h> {
    /// Watches the changes that are made through this value.
    #[must_use]
    pub fn new(host: &'h dyn Host, watch: Watch<'h>) -> Self {
        Self { host, watch }
    }
}

impl fmt::Debug for WatchedHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

impl Host for WatchedHost<'_> {
    fn change_watched(&self, op: &Op, watch: Watch<'_>) -> Result<Change> {
        self.host.change_watched(op, watch)
    }

    fn change(&self, op: &Op) -> Result<Change> {
        self.host.change_watched(op, self.watch)
    }

    fn spawn(&self, spawn: &Spawn) -> Result<Process> {
        self.host.spawn(spawn)
    }

    fn signal(&self, process: &Process, signal: Signal) -> Result<Change> {
        self.host.signal(process, signal)
    }
}

impl Look for WatchedHost<'_> {
    ask_field_without_privileges!(host);

    ask_field! {host:
        firewall_holds(table: &str, guests: &[(String, Ipv4Addr)], nat: &[Ipv4Addr]) -> Result<bool>;
        forwarding_holds(instance: Instance) -> Result<bool>;
        snapshot(name: &str) -> Result<Option<Snapshot>>;
        probe(probe: &Probe) -> Finding;
    }
}
