//! The folder of a VM on a real host, with the stand-in as its Firecracker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banger_api::{Error, Mib, NetworkKind, Phase, VmId, VmSpec};
use banger_host::{Linux, Look as _, Mark, Process};
use bangerd::capability::Capability as _;
use bangerd::capability::boot::Boot;
use bangerd::hypervisor::Hypervisor as _;
use bangerd::hypervisor::firecracker::Firecracker;
use bangerd::layout::{Layout, machine};
use bangerd::machine::{Backend, DiskCache, Drive, Interface, Machine};
use bangerd::vm::shape::Shape;
use bangerd::vm::{HostKey, Images, Secret, Vm};

use crate::stand_in::Script;

/// The root disk, a block device that the stand-in never opens.
pub(crate) const DEVICE: &str = "/dev/banger/banger-1-00ff-aa12bb34";

/// The name of every machine here.
pub(crate) const NAME: &str = "banger-1-test-aa12bb34";

/// A time-out that a stalled stand-in exceeds, and a healthy one never does.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);

pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) host: Linux,
    pub(crate) vm: Vm,
    layout: Layout,
    pub(crate) driver: Firecracker,
}

/// A Firecracker that is new enough and behaves well.
pub(crate) fn healthy() -> Script {
    Script {
        version: "1.16.1".to_owned(),
        api_version: "1.16.1".to_owned(),
        ..Script::default()
    }
}

impl World {
    pub(crate) fn new(script: &Script) -> Self {
        Self::below("", script)
    }

    /// A world with the driver's own time-outs.
    pub(crate) fn patient(script: &Script) -> Self {
        let mut world = Self::new(script);
        let program = world.program();
        world.driver = Firecracker::new(world.layout.clone(), program, NetworkKind::Tap);
        world
    }

    /// A world whose state directory is deeper in the tree.
    pub(crate) fn below(deeper: &str, script: &Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("firecracker");
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
        let text = serde_json::to_vec(script).unwrap();
        std::fs::write(folder.path().join("firecracker.json"), text).unwrap();
        let layout = Layout::new(folder.path().join(deeper).join("state"));
        let vm = vm();
        std::fs::create_dir_all(layout.vm(vm.id).machine()).unwrap();
        let driver = Firecracker::new(layout.clone(), program, NetworkKind::Tap);
        Self {
            host: Linux::new().unwrap(),
            vm,
            layout,
            driver: driver.with_patience(PATIENCE),
            folder,
        }
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.folder.path().join("firecracker")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.layout.vm(self.vm.id).in_machine(name)
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine {
            shape: Shape::newest(),
            name: NAME.to_owned(),
            directory: self.layout.vm(self.vm.id).machine(),
            owner: None,
            jailed_as: None,
            scope: None,
            vcpu: 2,
            memory_mib: 512,
            kernel: machine::KERNEL.to_owned(),
            initramfs: machine::INITRAMFS.to_owned(),
            boot_args: vec!["console=ttyS0".to_owned()],
            disk_cache: DiskCache::Writeback,
            drives: vec![Drive {
                name: "root".to_owned(),
                path: DEVICE.to_owned(),
                block: true,
                read_only: false,
            }],
            interfaces: vec![Interface {
                mac: "02:ba:aa:12:bb:34".to_owned(),
                mtu: 1500,
                backend: Backend::Tap {
                    name: "bg1testaa12bb34".to_owned(),
                },
            }],
            channel: machine::AGENT.to_owned(),
            console: machine::CONSOLE.to_owned(),
        }
    }

    pub(crate) fn boot(&self) -> bangerd::error::Result<Process> {
        self.driver.boot(&self.vm, &self.machine(), &self.host)
    }

    /// The error of a boot that must fail; nothing of it may run or remain.
    pub(crate) fn fails(&self) -> Error {
        let error = self.boot().unwrap_err();
        self.assert_nothing_runs();
        self.tear_down();
        error
    }

    fn mark(&self) -> Mark {
        Mark {
            name: NAME.to_owned(),
            user: None,
            alone: false,
            programs: self.driver.programs(),
        }
    }

    pub(crate) fn assert_nothing_runs(&self) {
        let folder = self.path("");
        let here = |pid: &str| std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
        let running = self.host.find_processes(&self.mark()).unwrap();
        for process in running {
            let where_it_is = here(&process.pid.to_string());
            assert_ne!(where_it_is.as_deref(), Some(folder.as_path()), "it runs on");
        }
    }

    /// Removes the driver's files, like a teardown.
    pub(crate) fn tear_down(&self) {
        let boot = Boot::new(self.layout.clone(), DiskCache::Writeback, false);
        boot.teardown(&self.vm, &self.host).unwrap();
        for name in [
            machine::FIRECRACKER_SOCKET,
            machine::AGENT,
            machine::ROOT_DEVICE,
        ] {
            let found = self.path(name).symlink_metadata();
            assert!(found.is_err(), "`{name}` is left");
        }
    }

    pub(crate) fn kill(&self, process: &Process) {
        use banger_host::{Host as _, Signal};
        self.host.signal(process, Signal::Kill).unwrap();
        let process = std::slice::from_ref(process);
        assert_eq!(
            self.host.wait_any(process, Duration::from_secs(10)),
            process
        );
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for World {
    /// Ends what a failed test has left running.
    fn drop(&mut self) {
        use banger_host::{Host as _, Signal};
        let folder = self.path("");
        for process in self.host.find_processes(&self.mark()).unwrap_or_default() {
            let at =
                std::fs::read_link(Path::new("/proc").join(process.pid.to_string()).join("cwd"));
            if at.is_ok_and(|at| at == folder) {
                let _ = self.host.signal(&process, Signal::Kill);
            }
        }
    }
}

fn vm() -> Vm {
    Vm {
        id: VmId::from_bits(0xaa12_bb34),
        name: "calm-otter".parse().unwrap(),
        spec: VmSpec {
            vcpu: 2,
            memory: Mib(512),
            disk_size: Mib(1024),
            system_disk_size: Mib(1024),
            ..VmSpec::default()
        },
        images: Images {
            name: "default".to_owned(),
            root: "root".to_owned(),
            kernel: "kernel".to_owned(),
        },
        root_disk: "copy".to_owned(),
        shape: Shape::newest(),
        index: 0,
        address: [10, 215, 0, 2].into(),
        gateway: [10, 215, 0, 1].into(),
        network: NetworkKind::Tap,
        ssh_port: None,
        owner: None,
        machine_id: "0".repeat(32),
        host_key: HostKey {
            private: Secret(String::new()),
            public: String::new(),
        },
        forwards: Vec::new(),
        phase: Phase::Starting,
        run: None,
        former_names: Vec::new(),
        former_machine_ids: Vec::new(),
        last_boot: None,
        builds: None,
        temporary: false,
        created: jiff::Timestamp::UNIX_EPOCH,
        last_end: None,
        deleted: None,
    }
}
