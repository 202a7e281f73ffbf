//! The answers of this host.

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::During as _;
use super::files::absent;
use super::forwarding::Setting;
use super::{
    Linux, children, disk, files, find, forwarding, netlink, probes, resolvers, room, snapshot,
    usage,
};
use crate::ledger;
use crate::{
    Clocks, Elements, Exit, Finding, GuestTap, Instance, Look, Mark, Probe, Process, ProcessUsage,
    Resolvers, Result, Room, Snapshot, Stat,
};

impl Look for Linux {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let describe = || format!("read `{}`", path.display());
        let Some(mut file) = absent(files::open(path, true)).during(describe)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).during(describe)?;
        Ok(Some(bytes))
    }

    fn read_at(&self, path: &Path, offset: u64, limit: usize) -> Result<Vec<u8>> {
        let describe = || format!("read `{}`", path.display());
        // A VMM may own the folder of its logs, and could replace a log with a link to anything.
        let Some(file) = absent(files::open(path, false)).during(describe)? else {
            return Ok(Vec::new());
        };
        let length = file.metadata().during(describe)?.len();
        let there = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; limit.min(there)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).during(describe),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        let describe = || format!("list `{}`", directory.display());
        let Some(entries) = absent(fs::read_dir(directory)).during(describe)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(
                entry
                    .during(describe)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        names.sort_unstable();
        Ok(names)
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        let found =
            absent(fs::metadata(path)).during(|| format!("examine `{}`", path.display()))?;
        Ok(found.map(|it| Stat {
            length: it.len(),
            // The unit is 512 bytes, whatever the file system's block size is; see inode(7).
            allocated: it.blocks() * 512,
            is_directory: it.is_dir(),
            uid: it.uid(),
        }))
    }

    fn is_alive(&self, process: &Process) -> bool {
        self.children.is_alive(process, &self.boot_id)
    }

    fn find_processes(&self, mark: &Mark) -> Result<Vec<Process>> {
        find::find(mark, self.uid(), &self.boot_id)
    }

    fn find_machines(
        &self,
        instance: Instance,
        programs: &[PathBuf],
    ) -> Result<Vec<(String, Process)>> {
        find::find_machines(instance, programs, self.uid(), &self.boot_id)
    }

    fn wait_any(&self, processes: &[Process], timeout: Duration) -> Vec<Process> {
        self.children.wait_any(processes, timeout, &self.boot_id)
    }

    fn usage(&self, process: &Process) -> Result<Option<ProcessUsage>> {
        Ok(usage::of(process.pid).filter(|_| self.is_alive(process)))
    }

    fn exit_of(&self, process: &Process) -> Option<Exit> {
        self.children.exit_of(process, &self.boot_id)
    }

    fn interfaces(&self, prefix: &str) -> Result<Vec<String>> {
        // This file is that of the thread's network namespace, and has no size in its metadata.
        let path = "/proc/thread-self/net/dev";
        let text = fs::read_to_string(path).during(|| format!("read `{path}`"))?;
        let names = text
            .lines()
            .filter_map(|line| line.rsplit_once(": ").or(line.split_once(':')));
        let names = names.map(|(name, _)| name.trim());
        let mut names: Vec<String> = names
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn firewall_holds(
        &self,
        table: &str,
        guests: &[(String, Ipv4Addr)],
        nat: &[Ipv4Addr],
    ) -> Result<bool> {
        self.firewall.holds(table, guests, nat)
    }

    fn firewall_elements(&self, table: &str) -> Result<Elements> {
        self.firewall.elements(table)
    }

    fn forwarding(&self, interface: &str) -> Result<Option<bool>> {
        forwarding::get(Setting::Forwarding(interface))
    }

    fn forwarding_holds(&self, instance: Instance) -> Result<bool> {
        ledger::holds(self, instance)
    }

    fn forwards_everywhere(&self) -> Result<bool> {
        forwarding::of_all()
    }

    fn tap_holds(&self, instance: Instance, tap: &GuestTap) -> Result<bool> {
        let seen = self.interfaces.look()?;
        let name = instance.tap(tap.machine);
        Ok(seen.has(&name, tap) && (self.backstop.is_lacking() || seen.has_programs(&name, tap)))
    }

    fn uplink(&self) -> Result<Option<String>> {
        netlink::uplink()
    }

    fn ways_out(&self) -> Result<Vec<String>> {
        Ok(self.interfaces.look()?.ways_out())
    }

    fn resolvers(&self) -> Result<Resolvers> {
        let mut texts = Vec::new();
        for path in resolvers::FILES {
            let text = self.read(Path::new(path))?.unwrap_or_default();
            texts.push(String::from_utf8_lossy(&text).into_owned());
        }
        let seen = self.interfaces.look()?;
        let is_own = |address: Ipv4Addr| seen.addresses().any(|it| it == address);
        Ok(resolvers::choose(&texts, is_own))
    }

    fn is_own_address(&self, address: IpAddr) -> Result<bool> {
        let IpAddr::V4(address) = address else {
            return Ok(address.is_loopback());
        };
        let seen = self.interfaces.look()?;
        Ok(address.is_loopback() || seen.addresses().any(|it| it == address))
    }

    fn free_port(&self, wanted: Option<u16>) -> Result<u16> {
        let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = match wanted.map(bind) {
            Some(Ok(listener)) => listener,
            Some(Err(_)) | None => bind(0).during(|| "find a free port".to_owned())?,
        };
        Ok(listener
            .local_addr()
            .during(|| "find a free port".to_owned())?
            .port())
    }

    fn memory_mib(&self) -> Result<u64> {
        room::memory()?.mib("MemTotal")
    }

    fn free_memory_mib(&self) -> Result<u64> {
        room::memory()?.mib("MemAvailable")
    }

    fn load(&self) -> Result<[f64; 3]> {
        room::load()
    }

    fn name(&self) -> String {
        let names = rustix::system::uname();
        names.nodename().to_string_lossy().into_owned()
    }

    fn cpus(&self) -> u32 {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn free_mib(&self, directory: &Path) -> Result<u64> {
        room::room(directory).map(|room| room.free_mib)
    }

    fn room(&self, directory: &Path) -> Result<Room> {
        room::room(directory)
    }

    fn largest_file(&self, directory: &Path) -> Result<u64> {
        room::largest_file(directory)
    }

    fn shared(&self, path: &Path) -> Result<Option<u64>> {
        disk::shared(path)
    }

    fn snapshot(&self, name: &str) -> Result<Option<Snapshot>> {
        snapshot::state(name)
    }

    fn snapshots(&self, prefix: &str) -> Result<Vec<String>> {
        snapshot::names(prefix)
    }

    fn is_stopped(&self, process: &Process) -> bool {
        children::is_stopped(process, &self.boot_id)
    }

    fn clocks(&self) -> Clocks {
        use rustix::time::{ClockId, clock_gettime};
        let read = |clock| {
            let now = clock_gettime(clock);
            // Only a clock that is set to before 1970 is negative.
            Duration::try_from(now).unwrap_or_default()
        };
        Clocks {
            realtime: read(ClockId::Realtime),
            monotonic: read(ClockId::Monotonic),
            boottime: read(ClockId::Boottime),
        }
    }

    fn boot_id(&self) -> Result<String> {
        Ok(self.boot_id.clone())
    }

    fn uid(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn probe(&self, probe: &Probe) -> Finding {
        probes::probe(self, probe)
    }
}
