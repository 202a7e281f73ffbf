//! The answers of the simulated host.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Sim, lock, snapshot};
use crate::ledger;
use crate::{
    Clocks, Elements, Error, Exit, Finding, GuestTap, Instance, Kind, Look, Mark, Probe, Process,
    ProcessUsage, Resolvers, Result, Room, Snapshot, Stat,
};

impl Sim {
    /// Fails after the time-out while root is silent ([`Sim::be_silent`]).
    fn answer_of_root(&self) -> Result<()> {
        let silent = lock(&self.inner.plan).silent;
        let Some(patience) = silent else {
            return Ok(());
        };
        self.inner.silences.fetch_add(1, Ordering::SeqCst);
        self.wait_any(&[], patience);
        Err(Error::new(Kind::Busy, "root does not answer in time"))
    }
}

impl Look for Sim {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        self.awake()?;
        Ok(lock(&self.inner.state)
            .files
            .get(path)
            .map(|file| file.contents.clone()))
    }

    fn read_at(&self, path: &Path, offset: u64, limit: usize) -> Result<Vec<u8>> {
        let contents = self.read(path)?.unwrap_or_default();
        let offset = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(contents.len());
        Ok(contents[offset..].iter().copied().take(limit).collect())
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        self.awake()?;
        let state = lock(&self.inner.state);
        let below = state.directories.iter().chain(state.files.keys());
        let mut names: Vec<String> = below
            .filter(|path| path.parent() == Some(directory))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        self.awake()?;
        let state = lock(&self.inner.state);
        let uid = state.permission(path, self.uid()).uid;
        if state.directories.contains(path) {
            return Ok(Some(Stat {
                length: 0,
                allocated: 0,
                is_directory: true,
                uid,
            }));
        }
        Ok(state.files.get(path).map(|file| Stat {
            length: file.length,
            allocated: file.allocated(),
            is_directory: false,
            uid,
        }))
    }

    fn is_alive(&self, process: &Process) -> bool {
        let state = lock(&self.inner.state);
        process.boot_id == state.boot_id()
            && state
                .processes
                .get(&process.pid)
                .is_some_and(|it| it.exit.is_none())
    }

    fn find_processes(&self, mark: &Mark) -> Result<Vec<Process>> {
        self.awake()?;
        let state = lock(&self.inner.state);
        Ok(state
            .processes
            .iter()
            .filter(|(_, it)| {
                let own = mark.alone && mark.user.is_some() && it.user == mark.user;
                let by_name = (it.user.is_none() || it.user == mark.user)
                    && it.arguments.contains(&mark.name)
                    && mark.programs.contains(&it.program);
                it.exit.is_none() && (own || by_name)
            })
            .map(|(pid, _)| Process {
                pid: *pid,
                start_time: u64::from(*pid),
                boot_id: state.boot_id(),
            })
            .collect())
    }

    fn find_machines(
        &self,
        instance: Instance,
        programs: &[PathBuf],
    ) -> Result<Vec<(String, Process)>> {
        self.awake()?;
        let state = lock(&self.inner.state);
        let prefix = instance.name_prefix();
        let found = state.processes.iter().filter_map(|(pid, it)| {
            let may_be = it.user.is_none_or(|user| instance.users().contains(&user));
            let runs = it.exit.is_none() && may_be && programs.contains(&it.program);
            let name = it.arguments.iter().find(|it| it.starts_with(&prefix));
            let process = Process {
                pid: *pid,
                start_time: u64::from(*pid),
                boot_id: state.boot_id(),
            };
            Some((name.filter(|_| runs)?.clone(), process))
        });
        Ok(found.collect())
    }

    fn wait_any(&self, processes: &[Process], timeout: Duration) -> Vec<Process> {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.inner.state);
        loop {
            let gone: Vec<Process> = processes
                .iter()
                .filter(|it| {
                    state
                        .processes
                        .get(&it.pid)
                        .is_none_or(|it| it.exit.is_some())
                })
                .cloned()
                .collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if !gone.is_empty() || left.is_zero() {
                return gone;
            }
            state = self
                .inner
                .ended
                .wait_timeout(state, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }

    /// Simulated processes use almost nothing.
    fn usage(&self, process: &Process) -> Result<Option<ProcessUsage>> {
        self.awake()?;
        Ok(self.is_alive(process).then_some(ProcessUsage {
            cpu_millis: 10,
            resident_bytes: 2 << 20,
            pss_bytes: Some(1 << 20),
        }))
    }

    fn exit_of(&self, process: &Process) -> Option<Exit> {
        lock(&self.inner.state).processes.get(&process.pid)?.exit
    }

    fn interfaces(&self, prefix: &str) -> Result<Vec<String>> {
        self.awake()?;
        let state = lock(&self.inner.state);
        Ok(state
            .taps
            .keys()
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect())
    }

    fn firewall_holds(
        &self,
        table: &str,
        guests: &[(String, Ipv4Addr)],
        nat: &[Ipv4Addr],
    ) -> Result<bool> {
        self.awake()?;
        self.answer_of_root()?;
        let state = lock(&self.inner.state);
        let Some(table) = state.tables.get(table) else {
            return Ok(guests.is_empty());
        };
        Ok(guests.iter().all(|guest| table.guests.contains(guest))
            && nat.iter().all(|address| table.nat.contains(address)))
    }

    fn firewall_elements(&self, table: &str) -> Result<Elements> {
        self.awake()?;
        let state = lock(&self.inner.state);
        let table = state.tables.get(table).cloned().unwrap_or_default();
        Ok(Elements {
            guests: table.guests,
            nat: table.nat,
        })
    }

    fn forwarding(&self, interface: &str) -> Result<Option<bool>> {
        self.awake()?;
        Ok(lock(&self.inner.state).forwarding.get(interface).copied())
    }

    fn forwarding_holds(&self, instance: Instance) -> Result<bool> {
        self.answer_of_root()?;
        ledger::holds(self, instance)
    }

    fn forwards_everywhere(&self) -> Result<bool> {
        self.awake()?;
        Ok(lock(&self.inner.state).forwards_everywhere)
    }

    fn tap_holds(&self, instance: Instance, tap: &GuestTap) -> Result<bool> {
        self.awake()?;
        let state = lock(&self.inner.state);
        let name = instance.tap(tap.machine);
        Ok(state.taps.get(&name) == Some(tap) && !state.harmed_taps.contains(&name))
    }

    fn uplink(&self) -> Result<Option<String>> {
        Ok(self.ways_out()?.first().cloned())
    }

    fn ways_out(&self) -> Result<Vec<String>> {
        self.awake()?;
        let state = lock(&self.inner.state);
        let there = |name: &&String| state.forwarding.contains_key(*name);
        Ok(state.ways_out.iter().filter(there).cloned().collect())
    }

    fn resolvers(&self) -> Result<Resolvers> {
        self.awake()?;
        Ok(lock(&self.inner.state).resolvers.clone())
    }

    fn is_own_address(&self, address: IpAddr) -> Result<bool> {
        let state = lock(&self.inner.state);
        Ok(address.is_loopback() || state.resolvers.out_of_reach.contains(&address))
    }

    fn free_port(&self, wanted: Option<u16>) -> Result<u16> {
        Ok(wanted.unwrap_or(40_022))
    }

    fn memory_mib(&self) -> Result<u64> {
        Ok(65_536)
    }

    fn free_memory_mib(&self) -> Result<u64> {
        Ok(49_152)
    }

    fn load(&self) -> Result<[f64; 3]> {
        Ok([0.0; 3])
    }

    fn name(&self) -> String {
        "sim".to_owned()
    }

    fn cpus(&self) -> u32 {
        8
    }

    fn free_mib(&self, _directory: &Path) -> Result<u64> {
        self.awake()?;
        Ok(lock(&self.inner.plan).free_mib.unwrap_or(1 << 20))
    }

    fn room(&self, directory: &Path) -> Result<Room> {
        let free_mib = self.free_mib(directory)?;
        Ok(Room {
            size_mib: free_mib.max(1 << 20),
            free_mib,
            unwritten_mib: 0,
        })
    }

    fn largest_file(&self, _directory: &Path) -> Result<u64> {
        self.awake()?;
        Ok(lock(&self.inner.plan).largest_file.unwrap_or(1 << 62))
    }

    fn shared(&self, _path: &Path) -> Result<Option<u64>> {
        self.awake()?;
        Ok(None)
    }

    fn snapshot(&self, name: &str) -> Result<Option<Snapshot>> {
        self.awake()?;
        Ok(snapshot::look(&lock(&self.inner.state), name))
    }

    fn snapshots(&self, prefix: &str) -> Result<Vec<String>> {
        self.awake()?;
        let state = lock(&self.inner.state);
        let names = state.snapshots.keys();
        Ok(names
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect())
    }

    fn is_stopped(&self, process: &Process) -> bool {
        let state = lock(&self.inner.state);
        let entry = state.processes.get(&process.pid);
        entry.is_some_and(|it| it.exit.is_none() && it.stopped)
    }

    fn clocks(&self) -> Clocks {
        let since = self.inner.started.elapsed();
        let realtime = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Clocks {
            realtime,
            monotonic: since,
            boottime: since,
        }
    }

    fn boot_id(&self) -> Result<String> {
        Ok(lock(&self.inner.state).boot_id())
    }

    fn uid(&self) -> u32 {
        rustix::process::getuid().as_raw()
    }

    fn probe(&self, probe: &Probe) -> Finding {
        let plan = lock(&self.inner.plan);
        plan.findings
            .iter()
            .find(|(picks, _)| picks(probe))
            .map_or_else(
                || Finding::Good("simulated".to_owned()),
                |(_, finding)| finding.clone(),
            )
    }
}
