//! Questions of an ordinary user's daemon: those that the user cannot answer go to root.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DelegatingLinux, connection};
use crate::root::MOST_ELEMENTS;
use crate::root::message::{Reply, Request, RootLook};
use crate::{
    Clocks, Elements, Exit, Finding, GuestTap, Instance, Look, Mark, Probe, Process, ProcessUsage,
    Resolvers, Result, Room, Snapshot, Stat,
};

impl Look for DelegatingLinux {
    fn firewall_holds(
        &self,
        table: &str,
        guests: &[(String, Ipv4Addr)],
        nat: &[Ipv4Addr],
    ) -> Result<bool> {
        let most = guests.len().max(nat.len());
        let calls = most.div_ceil(MOST_ELEMENTS).max(1);
        for call in 0..calls {
            let look = RootLook::FirewallHolds {
                table: table.to_owned(),
                guests: part(guests, call).to_vec(),
                nat: part(nat, call).to_vec(),
            };
            if !self.holds(look)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn snapshot(&self, name: &str) -> Result<Option<Snapshot>> {
        let look = RootLook::Snapshot {
            name: name.to_owned(),
        };
        match self.connection.ask(&Request::Look(look), &[])? {
            Reply::Snapshot(snapshot) => Ok(snapshot),
            other => Err(connection::unexpected(&other)),
        }
    }

    fn probe(&self, probe: &Probe) -> Finding {
        match probe {
            Probe::Network => self.network(),
            Probe::ForwardedPackets { tap_prefix } => self.found(RootLook::ForwardedPackets {
                tap_prefix: tap_prefix.clone(),
            }),
            Probe::Snapshot => self.found(RootLook::Snapshots),
            Probe::Jail { directory, .. } => self.jails(directory),
            Probe::Kvm
            | Probe::Program { .. }
            | Probe::Binary { .. }
            | Probe::Reflink { .. }
            | Probe::SubnetFree { .. }
            | Probe::Port { .. }
            | Probe::Scopes
            | Probe::Space { .. } => self.linux.probe(probe),
        }
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        self.linux.read(path)
    }

    fn read_at(&self, path: &Path, offset: u64, limit: usize) -> Result<Vec<u8>> {
        self.linux.read_at(path, offset, limit)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        self.linux.list(directory)
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        self.linux.stat(path)
    }

    fn is_alive(&self, process: &Process) -> bool {
        self.linux.is_alive(process)
    }

    fn find_processes(&self, mark: &Mark) -> Result<Vec<Process>> {
        self.linux.find_processes(mark)
    }

    fn find_machines(
        &self,
        instance: Instance,
        programs: &[PathBuf],
    ) -> Result<Vec<(String, Process)>> {
        self.linux.find_machines(instance, programs)
    }

    fn wait_any(&self, processes: &[Process], timeout: Duration) -> Vec<Process> {
        self.linux.wait_any(processes, timeout)
    }

    fn usage(&self, process: &Process) -> Result<Option<ProcessUsage>> {
        self.linux.usage(process)
    }

    fn exit_of(&self, process: &Process) -> Option<Exit> {
        self.linux.exit_of(process)
    }

    fn interfaces(&self, prefix: &str) -> Result<Vec<String>> {
        self.linux.interfaces(prefix)
    }

    fn firewall_elements(&self, table: &str) -> Result<Elements> {
        self.linux.firewall_elements(table)
    }

    fn forwarding(&self, interface: &str) -> Result<Option<bool>> {
        self.linux.forwarding(interface)
    }

    fn forwarding_holds(&self, instance: Instance) -> Result<bool> {
        self.check_instance(instance)?;
        self.holds(RootLook::ForwardingHolds)
    }

    fn forwards_everywhere(&self) -> Result<bool> {
        self.linux.forwards_everywhere()
    }

    fn tap_holds(&self, instance: Instance, tap: &GuestTap) -> Result<bool> {
        self.linux.tap_holds(instance, tap)
    }

    fn ways_out(&self) -> Result<Vec<String>> {
        self.linux.ways_out()
    }

    fn uplink(&self) -> Result<Option<String>> {
        self.linux.uplink()
    }

    fn resolvers(&self) -> Result<Resolvers> {
        self.linux.resolvers()
    }

    fn is_own_address(&self, address: IpAddr) -> Result<bool> {
        self.linux.is_own_address(address)
    }

    fn free_port(&self, wanted: Option<u16>) -> Result<u16> {
        self.linux.free_port(wanted)
    }

    fn memory_mib(&self) -> Result<u64> {
        self.linux.memory_mib()
    }

    fn free_memory_mib(&self) -> Result<u64> {
        self.linux.free_memory_mib()
    }

    fn load(&self) -> Result<[f64; 3]> {
        self.linux.load()
    }

    fn name(&self) -> String {
        self.linux.name()
    }

    fn cpus(&self) -> u32 {
        self.linux.cpus()
    }

    fn free_mib(&self, directory: &Path) -> Result<u64> {
        self.linux.free_mib(directory)
    }

    fn room(&self, directory: &Path) -> Result<Room> {
        self.linux.room(directory)
    }

    fn largest_file(&self, directory: &Path) -> Result<u64> {
        self.linux.largest_file(directory)
    }

    fn shared(&self, path: &Path) -> Result<Option<u64>> {
        self.linux.shared(path)
    }

    fn snapshots(&self, prefix: &str) -> Result<Vec<String>> {
        self.linux.snapshots(prefix)
    }

    fn is_stopped(&self, process: &Process) -> bool {
        self.linux.is_stopped(process)
    }

    fn clocks(&self) -> Clocks {
        self.linux.clocks()
    }

    fn boot_id(&self) -> Result<String> {
        self.linux.boot_id()
    }

    fn uid(&self) -> u32 {
        self.linux.uid()
    }
}

/// The part of a list for one of several requests.
fn part<T>(all: &[T], call: usize) -> &[T] {
    all.chunks(MOST_ELEMENTS).nth(call).unwrap_or_default()
}
