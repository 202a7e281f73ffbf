//! The real host: Linux, by its own system calls, netlink, ioctls, and nft.
//!
//! | file | what |
//! |---|---|
//! | `files`, `replacement` | directories and files, written durably |
//! | `disk` | disk images: shared, copied, made, grown, thinned |
//! | `snapshot` | root disks over a shared base, by device-mapper and loop devices |
//! | `netlink`, `interfaces`, `tap`, `neighbour`, `forwarding` | interfaces, addresses, routes, who is behind them, their settings |
//! | `firewall`, `backstop`, `docker` | our nft table; what holds without it; being let through by Docker's |
//! | `spawn`, `scope` | programs that outlive us |
//! | `children`, `find`, `units` | processes that cannot be mistaken, and whose they are |
//! | `probes` | what this host can do, tried for real |
//! | `sys` | the only unsafe code |

mod backstop;
pub(crate) mod children;
mod context;
mod disk;
pub(crate) mod docker;
mod files;
mod find;
mod firewall;
mod forwarding;
mod interfaces;
mod neighbour;
mod netlink;
pub(crate) mod node;
pub(crate) mod probes;
mod replacement;
mod resolvers;
mod room;
pub(crate) mod scope;
pub(crate) mod snapshot;
pub(crate) mod spawn;
#[expect(
    unsafe_code,
    reason = "ioctls, what a child does between fork and exec, the environment"
)]
pub(crate) mod sys;
pub(crate) mod tap;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod units;

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Component, Path};
use std::time::Duration;

use children::Children;
use context::During as _;
use files::absent;
use firewall::Firewall;
use forwarding::Setting;
use interfaces::Interfaces;

use crate::{
    Change, Clocks, Elements, Error, Exit, Finding, GuestTap, Host, Kind, Look, Mark, Op, Probe,
    Process, Resolvers, Result, Room, Signal, Snapshot, Spawn, Stat,
};

pub(crate) use netlink::way_to;
pub(crate) use snapshot::node_path as snapshot_node;

/// The Linux machine that we run on.
#[derive(Debug)]
pub struct Linux {
    boot_id: String,
    children: Children,
    firewall: Firewall,
    interfaces: Interfaces,
    docker: docker::Accepted,
    backstop: tap::Support,
}

impl Linux {
    /// The machine that we run on.
    ///
    /// # Errors
    /// When `/proc` does not say which boot this is.
    pub fn new() -> Result<Self> {
        Ok(Self {
            boot_id: children::boot_id()?,
            children: Children::default(),
            firewall: Firewall::default(),
            interfaces: Interfaces::default(),
            docker: docker::Accepted::default(),
            backstop: tap::Support::default(),
        })
    }
}

impl Linux {
    /// Op::MakeTap: the filter first, then the TAP.
    fn make_tap(&self, tap: &GuestTap) -> Result<Change> {
        self.interfaces.forget();
        let GuestTap {
            name,
            table,
            tap_prefix,
            guest_address,
            ..
        } = tap;
        let filtered = self
            .firewall
            .allow_guest(table, tap_prefix, name, *guest_address)?;
        let made = tap::make(tap, &self.backstop)?;
        self.interfaces.forget();
        Ok(files::made(
            filtered == Change::Made || made == Change::Made,
        ))
    }
}

/// Refuses a path that is not absolute or goes up: it would name something else elsewhere.
fn check_path(path: &Path) -> Result<()> {
    if path.is_absolute() && !path.components().any(|it| it == Component::ParentDir) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Other,
        format!("`{}` is not an absolute path", path.display()),
    ))
}

fn check_paths(op: &Op) -> Result<()> {
    match op {
        Op::MakeDirectory { path, .. }
        | Op::RemoveDirectory { path }
        | Op::WriteFile { path, .. }
        | Op::WriteScratch { path, .. }
        | Op::RemoveFile { path }
        | Op::MakeFilesystem { path, .. }
        | Op::GrowFile { path, .. }
        | Op::PunchHole { path, .. }
        | Op::MakeLink { path, .. }
        | Op::RestoreStore { path } => check_path(path),
        Op::MakeNode { path, device, .. } => check_path(path).and(check_path(device)),
        Op::MakeSnapshot { base, cow, .. } => check_path(base).and(check_path(cow)),
        Op::LinkFile { from, to }
        | Op::RenameFile { from, to }
        | Op::CloneFile { from, to, .. }
        | Op::CopyFile { from, to, .. } => check_path(from).and(check_path(to)),
        Op::RemoveSnapshot { .. }
        | Op::MakeTap(_)
        | Op::RemoveTap { .. }
        | Op::AllowGuest { .. }
        | Op::ForbidGuest { .. }
        | Op::AllowNat { .. }
        | Op::ForbidNat { .. }
        | Op::SetForwarding { .. }
        | Op::KeepToGuests { .. }
        | Op::AcceptInDockerUser { .. } => Ok(()),
    }
}

impl Host for Linux {
    fn change(&self, op: &Op) -> Result<Change> {
        check_paths(op)?;
        match op {
            Op::MakeDirectory { path, mode, owner } => files::make_directory(path, *mode, *owner),
            Op::RemoveDirectory { path } => files::remove_directory(path),
            Op::WriteFile {
                path,
                contents,
                mode,
                owner,
            } => files::write_file(path, contents, *mode, *owner),
            Op::WriteScratch {
                path,
                contents,
                mode,
                owner,
            } => files::write_scratch(path, contents, *mode, *owner),
            Op::RemoveFile { path } => files::remove_file(path),
            Op::RenameFile { from, to } => files::rename_file(from, to),
            Op::LinkFile { from, to } => files::link_file(from, to),
            Op::MakeLink { path, target } => files::make_link(path, target),
            Op::MakeNode {
                path,
                device,
                owner,
            } => node::make_another(path, device, *owner),
            Op::CloneFile { from, to, owner } => disk::clone(from, to, *owner),
            Op::CopyFile { from, to, owner } => disk::copy(from, to, *owner),
            Op::MakeFilesystem {
                path,
                size_mib,
                label,
                owner,
            } => disk::make_filesystem(path, *size_mib, label, *owner),
            Op::GrowFile { path, size_mib } => disk::grow(path, *size_mib),
            Op::PunchHole { path, offset } => disk::punch_hole(path, *offset),
            Op::RestoreStore { path } => snapshot::restore(path),
            Op::MakeSnapshot {
                name,
                base,
                cow,
                size_mib,
                owner,
            } => snapshot::make_of_paths(name, (base, cow), *size_mib, *owner),
            Op::RemoveSnapshot { name } => snapshot::remove(name),
            Op::MakeTap(tap) => self.make_tap(tap),
            Op::RemoveTap { name } => tap::remove(name),
            Op::AllowGuest {
                table,
                tap_prefix,
                tap,
                address,
            } => self.firewall.allow_guest(table, tap_prefix, tap, *address),
            Op::ForbidGuest {
                table,
                tap,
                address,
            } => {
                let interfaces = self.interfaces("")?;
                self.firewall
                    .forbid_guest(table, tap, *address, &interfaces)
            }
            Op::AllowNat {
                table,
                tap_prefix,
                address,
            } => {
                let change = self.firewall.allow_nat(table, tap_prefix, *address)?;
                tap::remember_nat(*address, true)?;
                Ok(change)
            }
            Op::ForbidNat { table, address } => {
                tap::remember_nat(*address, false)?;
                self.firewall.forbid_nat(table, *address)
            }
            Op::KeepToGuests {
                table,
                tap_prefix,
                interfaces,
            } => self.firewall.keep_to_guests(table, tap_prefix, interfaces),
            Op::SetForwarding { interface, on } => {
                forwarding::set(&Setting::Forwarding(interface), *on)
            }
            Op::AcceptInDockerUser { tap_prefix, on } => {
                self.docker.forget();
                docker::accept(tap_prefix, *on)
            }
        }
    }

    fn spawn(&self, spawn: &Spawn) -> Result<Process> {
        check_path(&spawn.directory)?;
        check_path(&spawn.log)?;
        let process = spawn::spawn(spawn, &self.boot_id)?;
        self.children.add(&process);
        Ok(process)
    }

    fn signal(&self, process: &Process, signal: Signal) -> Result<Change> {
        children::signal(process, signal, &self.boot_id)
    }
}

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
        // A VMM may own the folder of its logs, and could put a link to anything there.
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
            absent(fs::metadata(path)).during(|| format!("look at `{}`", path.display()))?;
        Ok(found.map(|it| Stat {
            length: it.len(),
            // In units of 512 bytes whatever the file system's own are; see inode(7).
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

    fn wait_any(&self, processes: &[Process], timeout: Duration) -> Vec<Process> {
        self.children.wait_any(processes, timeout, &self.boot_id)
    }

    fn exit_of(&self, process: &Process) -> Option<Exit> {
        self.children.exit_of(process, &self.boot_id)
    }

    fn interfaces(&self, prefix: &str) -> Result<Vec<String>> {
        // Of this thread's network namespace, and with a size that no file's metadata tells.
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
        lent: &[String],
    ) -> Result<bool> {
        self.firewall.holds(table, guests, nat, lent)
    }

    fn firewall_elements(&self, table: &str) -> Result<Elements> {
        self.firewall.elements(table)
    }

    fn forwarding(&self, interface: &str) -> Result<Option<bool>> {
        forwarding::get(Setting::Forwarding(interface))
    }

    fn accepted_by_docker(&self, tap_prefix: &str) -> Result<bool> {
        self.docker
            .answer(tap_prefix, || docker::is_accepted(tap_prefix))
    }

    fn forwards_everywhere(&self) -> Result<bool> {
        forwarding::of_all()
    }

    fn tap_holds(&self, tap: &GuestTap) -> Result<bool> {
        let seen = self.interfaces.look()?;
        Ok(seen.has(tap) && (self.backstop.is_lacking() || seen.has_programs(tap)))
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
            // Only a clock set to before 1970 is negative.
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
