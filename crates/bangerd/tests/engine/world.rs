//! A simulated host with an engine, and checks for leftovers of its VMs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banger_api::location::Location;
use banger_api::{CreateVm, Mib, StartVm, VmId, VmRef, VmSpecPatch, VmView};
use banger_host::{FileOp, GuestTap, Host as _, Ledger, Op, Sim, SimSnapshot, SimTable};
use bangerd::assemble::{Mode, assemble};
use bangerd::config::{Config, RootDiskChoice};
use bangerd::engine::Engine;

/// A host, and the engine that works on it now.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) engine: Arc<Engine>,
    pub(crate) config: Config,
}

/// What exists only while VMs run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunTime {
    pub(crate) snapshots: BTreeMap<String, SimSnapshot>,
    pub(crate) loops: BTreeMap<PathBuf, BTreeSet<String>>,
    pub(crate) taps: BTreeMap<String, GuestTap>,
    pub(crate) tables: BTreeMap<String, SimTable>,
    pub(crate) forwarding: BTreeMap<String, bool>,
    pub(crate) ledger: Ledger,
    pub(crate) docker_user: BTreeSet<String>,
    pub(crate) processes: Vec<Vec<String>>,
    pub(crate) files: BTreeSet<PathBuf>,
}

pub(crate) const STATE: &str = "/state";

fn location() -> Location {
    Location {
        state: STATE.into(),
        socket: "/state/run/bangerd.sock".into(),
        config: "/none".into(),
        bundle: "/none".into(),
        bundle_reason: String::new(),
    }
}

/// An engine with this configuration, after recovery.
fn engine_with(sim: &Sim, config: &Config) -> Arc<Engine> {
    let engine = World::unrecovered(sim, config);
    engine.recover().unwrap();
    Arc::new(engine)
}

impl World {
    /// An engine with this configuration, before recovery.
    pub(crate) fn unrecovered(sim: &Sim, config: &Config) -> Engine {
        assemble(&location(), config, &Mode::Sim(sim.clone())).unwrap()
    }

    pub(crate) fn new() -> Self {
        Self::with_root_disks(RootDiskChoice::Auto)
    }

    /// A host whose new VMs have such root disks; VMs on devices are jailed, too.
    pub(crate) fn with_root_disks(root_disk: RootDiskChoice) -> Self {
        let config = match root_disk {
            RootDiskChoice::DmSnapshot => Self::on_devices(),
            RootDiskChoice::Auto | RootDiskChoice::Reflink | RootDiskChoice::Copy => Config {
                root_disk,
                ..Config::default()
            },
        };
        Self::configured(Sim::new(), config)
    }

    /// A configuration with root disks on devices, and jailed VMs.
    pub(crate) fn on_devices() -> Config {
        Config {
            root_disk: RootDiskChoice::DmSnapshot,
            jailer: true,
            ..Config::default()
        }
    }

    /// This host, with an engine of this configuration.
    pub(crate) fn configured(sim: Sim, config: Config) -> Self {
        let engine = engine_with(&sim, &config);
        Self {
            sim,
            engine,
            config,
        }
    }

    /// Starts the next daemon on the same host, as after a crash.
    pub(crate) fn restart(&mut self) {
        self.sim.revive();
        self.engine = engine_with(&self.sim, &self.config);
    }

    /// The same, without a single free block.
    pub(crate) fn restart_full(&mut self) {
        self.sim.revive();
        self.sim.set_free_mib(0);
        self.engine = engine_with(&self.sim, &self.config);
    }

    pub(crate) fn create(&self, name: &str, nat: bool, start: bool) -> VmView {
        self.engine
            .create(&request(name, nat, start), &|_| {})
            .unwrap()
    }

    pub(crate) fn start(&self, name: &str) -> banger_api::Result<VmView> {
        self.engine
            .start(&named(name), &StartVm::default(), &|_| {})
            .map(|outcome| outcome.vm)
    }

    /// Replaces the bundle of new VMs.
    pub(crate) fn replace_bundle(&self, contents: &str) {
        let (folder, mode, owner) = ("/none".into(), 0o755, None);
        let made = self.sim.change(&Op::File(FileOp::MakeDirectory {
            path: folder,
            mode,
            owner,
        }));
        made.unwrap();
        self.write("/none/bundle.json", contents.as_bytes());
    }

    /// Writes a file, bypassing the engine.
    pub(crate) fn write(&self, path: impl Into<PathBuf>, contents: &[u8]) {
        let op = Op::File(FileOp::WriteFile {
            path: path.into(),
            contents: contents.to_vec(),
            mode: 0o600,
            owner: None,
        });
        self.sim.change(&op).unwrap();
    }

    /// A VM's record on disk.
    pub(crate) fn record(&self, id: VmId) -> serde_json::Value {
        let path: PathBuf = format!("{STATE}/vms/{id}/vm.json").into();
        serde_json::from_slice(&self.sim.state().files[&path].contents).unwrap()
    }

    /// The existing images, by their digests.
    pub(crate) fn images(&self) -> BTreeSet<String> {
        let folder = Path::new("/state/images");
        let files = self.sim.state().files;
        let below = files
            .keys()
            .filter_map(|path| path.strip_prefix(folder).ok());
        let digests = below.filter_map(|path| path.iter().next()?.to_str());
        digests.map(str::to_owned).collect()
    }

    /// Asserts that every VM's images exist and are complete.
    pub(crate) fn assert_images_are_whole(&self, context: &str) {
        let files = self.sim.state().files;
        for vm in self.engine.list() {
            let images = &self.record(vm.id)["vm"]["images"];
            for (kind, name) in [("root", "rootfs.ext4"), ("kernel", "vmlinux")] {
                let digest = images[kind].as_str().unwrap();
                for name in ["image.json", name] {
                    let path: PathBuf = format!("{STATE}/images/{digest}/{name}").into();
                    assert!(
                        files.contains_key(&path),
                        "{context}: {} lacks {path:?}",
                        vm.name
                    );
                }
            }
        }
    }

    /// Asserts that there are at most this many unused images.
    pub(crate) fn assert_unused_images(&self, most: usize, context: &str) {
        let used: BTreeSet<String> = self
            .engine
            .list()
            .iter()
            .flat_map(|vm| {
                let images = self.record(vm.id)["vm"]["images"].clone();
                ["root", "kernel"].map(|kind| images[kind].as_str().unwrap().to_owned())
            })
            .collect();
        let unused = self.images().difference(&used).count();
        assert!(unused <= most, "{context}: {:?}", self.images());
    }

    pub(crate) fn run_time(&self) -> RunTime {
        let state = self.sim.state();
        let passing = [
            "vmlinux",
            "initramfs",
            "agent.sock",
            "qmp.sock",
            "guest.sock",
            "outside.sock",
            "settings.json",
        ];
        let is_passing = |path: &Path| {
            !path.starts_with("/state/images")
                && path
                    .file_name()
                    .is_some_and(|name| passing.iter().any(|it| name == *it))
        };
        RunTime {
            snapshots: state.snapshots,
            loops: state.loops,
            taps: state.taps,
            tables: state.tables,
            forwarding: state.forwarding,
            ledger: state.ledger,
            docker_user: state.docker_user,
            processes: state
                .processes
                .into_values()
                .filter(|it| it.exit.is_none())
                .map(|it| it.arguments)
                .collect(),
            files: state
                .files
                .into_keys()
                .filter(|path| is_passing(path))
                .collect(),
        }
    }

    /// The persistent files, except images, with their lengths; for records, whose times change,
    /// only their existence.
    pub(crate) fn persistent(&self) -> BTreeMap<PathBuf, u64> {
        let state = self.sim.state();
        state
            .files
            .into_iter()
            .filter(|(path, _)| path.starts_with("/state/vms") || path.starts_with("/state/ssh"))
            .filter(|(path, _)| !path.ends_with("console.log"))
            .map(|(path, file)| {
                let length = if path.ends_with("vm.json") {
                    0
                } else {
                    file.length
                };
                (path, length)
            })
            .collect()
    }
}

pub(crate) fn request(name: &str, nat: bool, start: bool) -> CreateVm {
    CreateVm {
        name: Some(name.to_owned()),
        spec: VmSpecPatch {
            nat: Some(nat),
            disk_size: Some(Mib(1024)),
            ..VmSpecPatch::default()
        },
        no_start: !start,
        ..CreateVm::default()
    }
}

pub(crate) fn named(name: &str) -> VmRef {
    name.parse().unwrap()
}

/// An error with its causes and hints.
pub(crate) fn error_text(error: &banger_api::Error) -> String {
    error.report()
}
