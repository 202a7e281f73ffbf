//! The only place that names concrete drivers, and the order of the capabilities, with reasons.

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
use crate::capability::jail::Jails;
use crate::capability::nat::Nat;
use crate::capability::network::Network;
use crate::capability::root_disk::RootDisks;
use crate::capability::ssh::Ssh;
use crate::capability::work_disk::WorkDisk;
use crate::config::{Config, NetworkChoice};
use crate::engine::{Defaults, Engine, Parts};
use crate::error::{During, Result};
use crate::guest::program::{self, GuestProgram};
use crate::hypervisor::Hypervisor;
use crate::hypervisor::sim::SimHypervisor;
use crate::image::catalog::{Catalog, Source};
use crate::layout::Layout;
use crate::naming::NameSource;
use crate::storage::RootDisk;
use crate::storage::copy::Copy;
use crate::storage::dm_snapshot::DmSnapshot;
use crate::storage::reflink::Reflink;
use crate::vm::names::Instance;
use configuration::ConfigurationInForce;
use hypervisors::Candidates;
use reach::{Reached, Root};

/// Which host the daemon works on.
#[derive(Debug, Clone)]
pub enum Mode {
    /// This machine.
    Real,
    /// A model of one, in memory.
    Sim(Sim),
}

/// What stands apart from the engine's parts while they are gathered.
struct Choices {
    host: Arc<dyn Host>,
    layout: Layout,
    instance: Instance,
    network: NetworkKind,
    kvm: bool,
    mode_word: &'static str,
    root: Root,
}

/// The engine of this location, with every driver chosen.
///
/// # Errors
/// When the state directory, the key pair or a choice of the configuration is not to be had.
pub fn assemble(location: &Location, config: &Config, mode: &Mode) -> Result<Engine> {
    let Reached {
        host,
        mode_word,
        root,
        instance,
    } = reach::reach(mode, &location.state)?;
    let layout = Layout::new(&location.state);
    for path in [
        layout.state().to_owned(),
        layout.vms(),
        layout.images(),
        layout.ssh(),
    ] {
        let mode = if path == layout.state() || path == layout.ssh() {
            0o700
        } else {
            0o711
        };
        let what = format!("make `{}`", path.display());
        host.change(&Op::File(FileOp::MakeDirectory {
            path,
            mode,
            owner: None,
        }))
        .during(what)?;
    }
    let choices = Choices {
        instance,
        network: network(config, &*host, &root),
        mode_word,
        root,
        kvm: matches!(host.probe(&Probe::Kvm), Finding::Good(_)),
        host,
        layout,
    };
    parts(location, config, mode, choices).map(Engine::new)
}

fn parts(location: &Location, config: &Config, mode: &Mode, choices: Choices) -> Result<Parts> {
    let Choices {
        host,
        layout,
        instance,
        network,
        kvm,
        mode_word,
        root,
    } = choices;
    let key = key::ensure(&layout, config.ssh_key_path.as_deref(), &*host, mode)?;
    let bundle = location.bundle.clone();
    let source = match mode {
        Mode::Real => Source::Bundle(bundle.clone(), location.bundle_reason.clone()),
        Mode::Sim(_) => Source::Simulated(bundle.clone()),
    };
    let catalog = Catalog::new(layout.clone(), source);
    let guest_program = match mode {
        Mode::Real => guest_program(&bundle),
        Mode::Sim(_) => GuestProgram::simulated(),
    };
    let root_disks = root_disks(&layout, instance);
    let (hypervisors, hypervisor) = match mode {
        Mode::Sim(sim) => {
            let only =
                SimHypervisor::new(sim.clone(), layout.clone(), instance).jailed(config.jailer);
            (vec![Box::new(only) as Box<dyn Hypervisor>], None)
        }
        Mode::Real => {
            let candidates = Candidates::new(config, &layout, &bundle, instance, (network, kvm));
            let candidates = candidates.jailed_by_root(host.uid() != 0);
            let (all, check) = candidates.choose(&*host);
            (all, Some(check))
        }
    };
    let simulated = matches!(mode, Mode::Sim(_));
    let in_force = ConfigurationInForce::new(location, config, simulated);
    let context = checks::Context {
        location,
        config,
        layout: &layout,
        catalog: &catalog,
        instance,
        network,
        in_force: &in_force,
    };
    let mut checks = checks::own(&context, hypervisor);
    checks.extend(root.check(config.subnet));
    let jailed_by_root = hypervisors
        .first()
        .is_some_and(|it| it.features().jailed_by_root);
    let network_of = (network, jailed_by_root);
    let capabilities = capabilities(config, &layout, instance, network_of, key.public);
    Ok(Parts {
        checks,
        capabilities,
        hypervisors,
        root_disks,
        catalog,
        guest_program,
        instance,
        root_disk: config.root_disk.as_str().to_owned(),
        defaults: defaults(config),
        reread: Box::new(move || in_force.reread()),
        boots_at_once: boots_at_once(kvm || matches!(mode, Mode::Sim(_)), host.cpus()),
        own_users: matches!(mode, Mode::Real) && host.uid() == 0,
        scopes: matches!(host.probe(&Probe::Scopes), Finding::Good(_)),
        subnet: config.subnet,
        ssh_key: key.path,
        simulated: matches!(mode, Mode::Sim(_)),
        daemon: daemon_view(location, config, mode_word, &bundle),
        advice: checks::advice(config, network, &*host),
        host,
        layout,
    })
}

/// What a VM has on its host, in the order of a start; teardown goes the other way.
///
/// - `boot` first: the machine's folder is made by it, and everybody else's files are in there.
/// - disks before the network: their order is the order of devices in the guest, and what is
///   likely to fail for want of space fails before anything of the host is touched.
/// - `gate` after `network`, and last of what fails: it waits for the hypervisor to listen.
/// - `NAT` after `network`: it opens what the network's rules close, and changes its interface.
/// - the others only add to the guest.
/// - `jail` last, so it is taken away first: it has other names of what the others make, and another
///   node of a root disk, which must be taken back before its device goes.
fn capabilities(
    config: &Config,
    layout: &Layout,
    instance: Instance,
    (network, jailed_by_root): (NetworkKind, bool),
    public_key: String,
) -> Vec<Box<dyn Capability>> {
    vec![
        Box::new(Boot::new(layout.clone(), config.disk_cache)),
        Box::new(RootDisks::new(
            root_disks(layout, instance),
            config.root_disk.as_str(),
        )),
        Box::new(WorkDisk::new(layout.clone())),
        Box::new(Network::new(instance, network, config.subnet)),
        Box::new(Gate::new(instance, layout.clone())),
        Box::new(Nat::new(instance, layout.clone(), network)),
        Box::new(Dns::new(config.dns.clone())),
        Box::new(Ssh::new(layout.clone(), public_key)),
        Box::new(Identity),
        Box::new(Jails::new(layout.clone(), instance, jailed_by_root)),
    ]
}

/// The guest program beside this one, where programs are installed, or the one that the bundle was
/// made with.
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

/// Software emulation keeps a processor busy for the whole of a boot; with KVM much of it is waiting.
fn boots_at_once(accelerated: bool, cpus: u32) -> usize {
    let each = if accelerated { 4 } else { 1 };
    usize::try_from(cpus.saturating_mul(each)).unwrap_or(usize::MAX)
}

/// A TAP where we may make one, with the addresses that are configured.
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
    }
}

fn daemon_view(
    location: &Location,
    config: &Config,
    mode: &str,
    bundle: &std::path::Path,
) -> DaemonView {
    DaemonView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        mode: mode.to_owned(),
        socket: location.socket.display().to_string(),
        state: location.state.display().to_string(),
        config: location.config.display().to_string(),
        bundle: bundle.display().to_string(),
        bundle_reason: location.bundle_reason.clone(),
        dns: (config.dns_port != 0).then(|| format!("127.0.0.1:{}", config.dns_port)),
        started: Timestamp::now(),
        vms: 0,
        running: 0,
        unexplained: Vec::new(),
        overrides: config.overrides.clone(),
        log_level: config.log_level,
    }
}
