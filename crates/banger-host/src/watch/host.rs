//! A host whose long changes are watched.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Watch;
use crate::{
    Change, Clocks, Elements, Exit, Finding, GuestTap, Host, Instance, Look, Mark, Op, Probe,
    Process, ProcessUsage, Resolvers, Result, Room, Signal, Snapshot, Spawn, Stat,
};

/// Another host, with a watch on each of its changes. Code that changes a host needs not know that
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
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        self.host.read(path)
    }

    fn read_at(&self, path: &Path, offset: u64, limit: usize) -> Result<Vec<u8>> {
        self.host.read_at(path, offset, limit)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        self.host.list(directory)
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        self.host.stat(path)
    }

    fn is_alive(&self, process: &Process) -> bool {
        self.host.is_alive(process)
    }

    fn find_processes(&self, mark: &Mark) -> Result<Vec<Process>> {
        self.host.find_processes(mark)
    }

    fn find_machines(
        &self,
        instance: Instance,
        programs: &[PathBuf],
    ) -> Result<Vec<(String, Process)>> {
        self.host.find_machines(instance, programs)
    }

    fn wait_any(&self, processes: &[Process], timeout: Duration) -> Vec<Process> {
        self.host.wait_any(processes, timeout)
    }

    fn usage(&self, process: &Process) -> Result<Option<ProcessUsage>> {
        self.host.usage(process)
    }

    fn exit_of(&self, process: &Process) -> Option<Exit> {
        self.host.exit_of(process)
    }

    fn interfaces(&self, prefix: &str) -> Result<Vec<String>> {
        self.host.interfaces(prefix)
    }

    fn firewall_holds(
        &self,
        table: &str,
        guests: &[(String, Ipv4Addr)],
        nat: &[Ipv4Addr],
    ) -> Result<bool> {
        self.host.firewall_holds(table, guests, nat)
    }

    fn firewall_elements(&self, table: &str) -> Result<Elements> {
        self.host.firewall_elements(table)
    }

    fn forwarding_holds(&self, instance: Instance) -> Result<bool> {
        self.host.forwarding_holds(instance)
    }

    fn forwarding(&self, interface: &str) -> Result<Option<bool>> {
        self.host.forwarding(interface)
    }

    fn forwards_everywhere(&self) -> Result<bool> {
        self.host.forwards_everywhere()
    }

    fn tap_holds(&self, instance: Instance, tap: &GuestTap) -> Result<bool> {
        self.host.tap_holds(instance, tap)
    }

    fn uplink(&self) -> Result<Option<String>> {
        self.host.uplink()
    }

    fn ways_out(&self) -> Result<Vec<String>> {
        self.host.ways_out()
    }

    fn resolvers(&self) -> Result<Resolvers> {
        self.host.resolvers()
    }

    fn is_own_address(&self, address: IpAddr) -> Result<bool> {
        self.host.is_own_address(address)
    }

    fn free_port(&self, wanted: Option<u16>) -> Result<u16> {
        self.host.free_port(wanted)
    }

    fn memory_mib(&self) -> Result<u64> {
        self.host.memory_mib()
    }

    fn free_memory_mib(&self) -> Result<u64> {
        self.host.free_memory_mib()
    }

    fn load(&self) -> Result<[f64; 3]> {
        self.host.load()
    }

    fn name(&self) -> String {
        self.host.name()
    }

    fn cpus(&self) -> u32 {
        self.host.cpus()
    }

    fn free_mib(&self, directory: &Path) -> Result<u64> {
        self.host.free_mib(directory)
    }

    fn room(&self, directory: &Path) -> Result<Room> {
        self.host.room(directory)
    }

    fn largest_file(&self, directory: &Path) -> Result<u64> {
        self.host.largest_file(directory)
    }

    fn shared(&self, path: &Path) -> Result<Option<u64>> {
        self.host.shared(path)
    }

    fn snapshot(&self, name: &str) -> Result<Option<Snapshot>> {
        self.host.snapshot(name)
    }

    fn snapshots(&self, prefix: &str) -> Result<Vec<String>> {
        self.host.snapshots(prefix)
    }

    fn is_stopped(&self, process: &Process) -> bool {
        self.host.is_stopped(process)
    }

    fn clocks(&self) -> Clocks {
        self.host.clocks()
    }

    fn boot_id(&self) -> Result<String> {
        self.host.boot_id()
    }

    fn uid(&self) -> u32 {
        self.host.uid()
    }

    fn probe(&self, probe: &Probe) -> Finding {
        self.host.probe(probe)
    }
}
