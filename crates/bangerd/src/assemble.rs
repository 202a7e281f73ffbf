//! Assembles the engine. The only place that names concrete drivers; it also has the order of the
//! capabilities, with the reasons.

mod checks;
mod configuration;
mod hypervisors;
mod key;
mod reach;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::Arc;

use banger_api::location::Location;
use banger_api::{DaemonView, NetworkKind, VmSpecPatch};
use banger_host::{FileOp, Finding, Host, Op, Probe, Sim};
use jiff::Timestamp;

use crate::capability::Capability;
use crate::capability::boot::Boot;
use crate::capability::dns::Dns;
use crate::capability::gate::Gate;
use crate::capability::identity::Identity;
use crate::capability::jail::{HypervisorUser, Jails};
use crate::capability::nat::Nat;
use crate::capability::network::Network;
use crate::capability::root_disk::RootDisks;
use crate::capability::ssh::Ssh;
use crate::capability::volume::AttachedVolumes;
use crate::capability::work_disk::WorkDisk;
use crate::config::{Config, NetworkChoice};
use crate::engine::{Defaults, Engine, Parts};
use crate::error::{During, Result};
use crate::guest::program::{self, GuestProgram};
use crate::guest::shell::{Shell, SimulatedShell, SshShell};
use crate::hypervisor::Hypervisor;
use crate::hypervisor::sim::SimHypervisor;
use crate::image::bundle::OwnKernel;
use crate::image::catalog::{Catalog, Source};
use crate::layout::Layout;
use crate::naming::NameSource;
use crate::readiness::Check;
use crate::storage::RootDisk;
use crate::storage::copy::Copy;
use crate::storage::dm_snapshot::DmSnapshot;
use crate::storage::reflink::Reflink;
use crate::vm::names::Instance;
use configuration::ConfigurationInForce;
use hypervisors::Candidates;
use key::Key;
use reach::{Reach, Root};

/// The host that the daemon works on.
#[derive(Debug, Clone)]
pub enum Mode {
    /// This machine.
    Real,
    /// A simulated host, in memory.
    Sim(Sim),
}

/// The parts that the others are built from.
struct Assembly<'a> {
    location: &'a Location,
    config: &'a Config,
    mode: &'a Mode,
    host: Arc<dyn Host>,
    root: Root,
    layout: Layout,
    instance: Instance,
    network: NetworkKind,
    kvm: bool,
}

/// Assembles the engine of this location, with all drivers chosen.
///
/// # Errors
/// If the state directory or the key pair cannot be used, or the host cannot provide what is
/// configured.
pub fn assemble(location: &Location, config: &Config, mode: &Mode) -> Result<Engine> {
    let assembly = Assembly::new(location, config, mode)?;
    assembly.parts().map(Engine::new)
}

impl<'a> Assembly<'a> {
    fn new(location: &'a Location, config: &'a Config, mode: &'a Mode) -> Result<Self> {
        let Reach {
            host,
            root,
            instance,
        } = reach::reach(mode, &location.state)?;
        let layout = Layout::new(&location.state);
        make_folders(&layout, &*host)?;
        Ok(Self {
            location,
            config,
            mode,
            network: network(config, &*host, &root),
            kvm: matches!(host.probe(&Probe::Kvm), Finding::Good(_)),
            host,
            root,
            layout,
            instance,
        })
    }

    fn is_simulated(&self) -> bool {
        matches!(self.mode, Mode::Sim(_))
    }

    fn parts(self) -> Result<Parts> {
        let (config, layout, host) = (self.config, &self.layout, &*self.host);
        let key = key::ensure(layout, config.ssh_key_path.as_deref(), host, self.mode)?;
        let bundle = self.location.bundle.clone();
        let shell: Box<dyn Shell> = match self.mode {
            Mode::Real => Box::new(SshShell),
            Mode::Sim(sim) => Box::new(SimulatedShell::new(sim.clone())),
        };
        let (source, guest_program) = match self.mode {
            Mode::Real => {
                let program = guest_program(&bundle);
                let reason = self.location.bundle_reason.clone();
                let own = OwnKernel::of(config, layout);
                (Source::Bundle(bundle, reason, own), program)
            }
            Mode::Sim(_) => (Source::Simulated(bundle), GuestProgram::simulated()),
        };
        let catalog = Catalog::new(layout.clone(), source);
        let (hypervisors, hypervisor) = self.hypervisors();
        let in_force = ConfigurationInForce::new(self.location, config, self.is_simulated());
        let mut checks = checks::own(&self, &catalog, &in_force, hypervisor);
        checks.extend(self.root.check(config.subnet));
        let cpus = host.cpus();
        Ok(Parts {
            checks,
            capabilities: self.capabilities(self.hypervisor_user(&hypervisors), key),
            hypervisors,
            catalog,
            guest_program,
            shell,
            instance: self.instance,
            defaults: defaults(config),
            reread: Box::new(move || in_force.reread()),
            boots_at_once: boots_at_once(self.kvm || self.is_simulated(), cpus),
            simulated: self.is_simulated(),
            daemon: self.daemon_view(),
            advice: checks::advice(config, self.network, host),
            host: self.host,
            layout: self.layout,
        })
    }

    /// All hypervisors, the one for new starts first, and the check that explains the choice.
    fn hypervisors(&self) -> (Vec<Box<dyn Hypervisor>>, Option<Check>) {
        let (config, instance) = (self.config, self.instance);
        match self.mode {
            Mode::Sim(sim) => {
                let only = SimHypervisor::new(sim.clone(), self.layout.clone(), instance);
                (vec![Box::new(only.jailed(config.jailer))], None)
            }
            Mode::Real => {
                let of_host = (self.network, self.kvm);
                let bundle = &self.location.bundle;
                let candidates = Candidates::new(config, &self.layout, bundle, instance, of_host);
                let candidates = candidates.jailed_by_root(self.host.uid() != 0);
                let (all, check) = candidates.choose(&*self.host);
                (all, Some(check))
            }
        }
    }

    fn hypervisor_user(&self, hypervisors: &[Box<dyn Hypervisor>]) -> HypervisorUser {
        let first = hypervisors.first();
        if first.is_some_and(|it| it.features().jailed_by_root) {
            HypervisorUser::OfVmInJail
        } else if self.host.uid() == 0 && !self.is_simulated() {
            HypervisorUser::OfVm
        } else {
            HypervisorUser::Daemon
        }
    }

    /// The capabilities, in the order of a start; teardown runs in reverse.
    ///
    /// - `boot` is first: it makes the machine's folder, which holds the files of the others.
    /// - the disks come before the network: a lack of space then fails the start before the host is
    ///   changed. Their order is the order of the devices in the guest.
    /// - `gate` follows `network`, and is the last that may fail: it waits for the hypervisor to
    ///   listen.
    /// - `NAT` follows `network`: it opens what the network's rules close, and changes its
    ///   interface.
    /// - the others only add to the guest.
    /// - `jail` is last, so that teardown removes it first: it has further links to the files of
    ///   the others and a device node of the root disk, which must go before that device.
    fn capabilities(&self, user: HypervisorUser, key: Key) -> Vec<Box<dyn Capability>> {
        let Self {
            config,
            instance,
            network,
            ..
        } = *self;
        let layout = || self.layout.clone();
        let scopes = matches!(self.host.probe(&Probe::Scopes), Finding::Good(_));
        let private = (!self.is_simulated()).then_some(key.path);
        vec![
            Box::new(Boot::new(layout(), config.disk_cache, scopes)),
            Box::new(RootDisks::new(
                layout(),
                root_disks(&self.layout, instance),
                config.root_disk.as_str(),
            )),
            Box::new(WorkDisk::new(layout())),
            Box::new(AttachedVolumes::new(layout())),
            Box::new(Network::new(instance, network, config.subnet)),
            Box::new(Gate::new(instance, layout())),
            Box::new(Nat::new(instance, layout(), network)),
            Box::new(Dns::new(config.dns.clone())),
            Box::new(Ssh::new(layout(), key.public, private)),
            Box::new(Identity),
            Box::new(Jails::new(layout(), instance, user)),
        ]
    }

    fn daemon_view(&self) -> DaemonView {
        DaemonView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mode: self.root.word(self.mode).to_owned(),
            socket: self.location.socket.display().to_string(),
            state: self.location.state.display().to_string(),
            config: self.location.config.display().to_string(),
            bundle: self.location.bundle.display().to_string(),
            bundle_reason: self.location.bundle_reason.clone(),
            dns: (self.config.dns_port != 0).then(|| format!("127.0.0.1:{}", self.config.dns_port)),
            started: Timestamp::now(),
            vms: 0,
            running: 0,
            unexplained: Vec::new(),
            overrides: self.config.overrides.clone(),
            log_level: self.config.log_level,
            trash: self.config.trash,
        }
    }
}

fn make_folders(layout: &Layout, host: &dyn Host) -> Result<()> {
    for (path, mode) in [
        (layout.state().to_owned(), 0o700),
        (layout.vms(), 0o711),
        (layout.images(), 0o711),
        (layout.ssh(), 0o700),
    ] {
        let what = format!("make `{}`", path.display());
        host.change(&Op::File(FileOp::MakeDirectory {
            path,
            mode,
            owner: None,
        }))
        .during(what)?;
    }
    Ok(())
}

/// The guest program beside this program, or else the one in the bundle.
fn guest_program(bundle: &Path) -> GuestProgram {
    let beside = std::env::current_exe().map(|own| own.with_file_name(program::FILE));
    let candidates = beside.into_iter().chain([bundle.join(program::FILE)]);
    GuestProgram::among(candidates.collect())
}

/// The root-disk drivers, in the order in which `auto` tries them.
fn root_disks(layout: &Layout, instance: Instance) -> Vec<Box<dyn RootDisk>> {
    vec![
        Box::new(Reflink::new(layout.clone())),
        Box::new(DmSnapshot::new(layout.clone(), instance)),
        Box::new(Copy::new(layout.clone())),
    ]
}

/// Software emulation keeps a CPU busy during a whole boot; with KVM, a boot is mostly waiting.
fn boots_at_once(accelerated: bool, cpus: u32) -> usize {
    let each = if accelerated { 4 } else { 1 };
    usize::try_from(cpus.saturating_mul(each)).unwrap_or(usize::MAX)
}

/// A TAP if banger may create one, with the configured addresses.
fn network(config: &Config, host: &dyn Host, root: &Root) -> NetworkKind {
    match config.network {
        NetworkChoice::Auto if !root.grants(config.subnet) => NetworkKind::User,
        NetworkChoice::Tap => NetworkKind::Tap,
        NetworkChoice::User => NetworkKind::User,
        NetworkChoice::Auto => match host.probe(&Probe::Network) {
            Finding::Good(_) | Finding::Doubtful { .. } => NetworkKind::Tap,
            Finding::Bad { .. } => NetworkKind::User,
        },
    }
}

fn defaults(config: &Config) -> Defaults {
    Defaults {
        image: config.image.clone(),
        names: config
            .namegen_path
            .clone()
            .map_or(NameSource::Petnames, NameSource::File),
        spec: config.spec.clone(),
        chosen: VmSpecPatch {
            nat: config
                .origins
                .contains_key("nat")
                .then_some(config.spec.nat),
            ..VmSpecPatch::default()
        },
        start_timeout_seconds: config.start_timeout_seconds,
        stop_timeout_seconds: config.stop_timeout_seconds,
        shutdown_timeout_seconds: config.shutdown_timeout_seconds,
        trash: config.trash,
    }
}
