//! The jailer, which starts Firecracker in a root of its own, as the VM's own user:
//! <https://github.com/firecracker-microvm/firecracker/blob/main/docs/jailer.md>.
//!
//! ```text
//! <state>/jails/               root's, 0711: nobody else may put a link there
//!   <program>/<machine>/root/  the VM's user's; what it sees as `/`
//!     vmlinux initramfs *.img  other names of the machine's files
//!     root.dev                 another node of its root disk, where that is a block device
//!     firecracker.sock …       what it makes itself
//! ```
//!
//! The requests have the same paths as without a jail: they are relative, or a device's, and mean
//! the same inside. The jailer leaves its files behind and fails on those of an earlier run, so
//! each start makes a new jail and the teardown removes it.

use std::path::{Path, PathBuf};

use banger_api::{Code, Error};
use banger_host::{FileOp, Host, Op, Owner, Probe};

use super::machine::file_name;
use crate::error::{During, Result};
use crate::layout::{VmLayout, machine};
use crate::machine::Machine;
use crate::readiness::Check;

/// Files of Firecracker that are read after its end.
const KEPT: [&str; 2] = [machine::HYPERVISOR_LOG, machine::METRICS];

/// The jails of one Firecracker program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jail {
    /// The jailer's program, beside Firecracker's.
    jailer: PathBuf,
    program: PathBuf,
    /// The folder of all jails.
    base: PathBuf,
}

impl Jail {
    /// The jails of this Firecracker below `base`.
    pub(super) fn new(program: &Path, base: PathBuf) -> Self {
        Self {
            jailer: program.with_file_name("jailer"),
            program: program.to_owned(),
            base,
        }
    }

    /// Its requirement.
    pub(super) fn check(&self) -> Check {
        Check::probe(
            "jailer",
            Probe::Jail {
                directory: self.base.clone(),
                firecracker: self.program.clone(),
                jailer: self.jailer.clone(),
            },
        )
    }

    pub(super) fn jailer(&self) -> &Path {
        &self.jailer
    }

    /// The folder of one machine, at the path that the jailer derives.
    fn folder(&self, name: &str) -> PathBuf {
        let program = self.program.file_name().unwrap_or_default();
        self.base.join(program).join(name)
    }

    /// The root directory of the jailed Firecracker of this name.
    pub(super) fn root(&self, name: &str) -> PathBuf {
        self.folder(name).join("root")
    }

    /// The jailer's arguments. Those after `--` are Firecracker's. The jailer itself passes the
    /// machine's name on as an argument, by which the process is found.
    pub(super) fn arguments(&self, machine: &Machine, handed_on: &[String]) -> Result<Vec<String>> {
        let Owner { uid, gid } = owner(machine)?;
        let own = [
            ("--id", machine.name.clone()),
            ("--exec-file", self.program.display().to_string()),
            ("--uid", uid.to_string()),
            ("--gid", gid.to_string()),
            ("--chroot-base-dir", self.base.display().to_string()),
        ];
        let own = own
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value]);
        let handed_on = handed_on.iter().cloned();
        Ok(own.chain(["--".to_owned()]).chain(handed_on).collect())
    }

    /// Makes a fresh jail with the files of a machine.
    pub(super) fn make(&self, machine: &Machine, layout: &VmLayout, host: &dyn Host) -> Result<()> {
        let doing = "make the machine's jail";
        let change = |op: &Op| host.change(op).during(doing).map(drop);
        let owner = Some(owner(machine)?);
        let root = self.root(&machine.name);
        let path = self.folder(&machine.name);
        change(&Op::File(FileOp::RemoveDirectory { path }))?;
        let folder = |path: PathBuf| {
            Op::File(FileOp::MakeDirectory {
                path,
                mode: 0o711,
                owner: None,
            })
        };
        change(&folder(self.base.clone()))?;
        change(&folder(root.clone()))?;
        for name in KEPT {
            let (path, contents, mode) = (layout.in_machine(name), Vec::new(), 0o600);
            change(&Op::File(FileOp::WriteFile {
                path,
                contents,
                mode,
                owner,
            }))?;
        }
        let files = machine.drives.iter().filter(|drive| !drive.block);
        let files = files.map(|drive| drive.path.as_str());
        let boot = [machine.kernel.as_str(), machine.initramfs.as_str()];
        for name in boot.into_iter().chain(KEPT).chain(files) {
            let (from, to) = (layout.in_machine(name), root.join(name));
            change(&Op::File(FileOp::LinkFile { from, to }))?;
        }
        for drive in machine.drives.iter().filter(|drive| drive.block) {
            let device = PathBuf::from(&drive.path);
            let inside = file_name(drive, &machine.shape);
            let path = root.join(inside.strip_prefix("/").unwrap_or(&inside));
            change(&folder(path.parent().unwrap_or(&root).to_owned()))?;
            change(&Op::File(FileOp::MakeNode {
                path,
                device,
                owner,
            }))?;
        }
        Ok(())
    }
}

fn owner(machine: &Machine) -> Result<Owner> {
    machine.owner.ok_or_else(|| {
        Error::new(
            Code::Invalid,
            "only a VM with a user of its own can be jailed",
        )
        .hint("run the daemon as root, or remove `jailer` from the configuration")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::machine::{DiskCache, Drive};
    use crate::vm::shape::Shape;
    use banger_host::Sim;

    const NAME: &str = "banger-1-00ff-aa12bb34";

    fn machine(layout: &VmLayout) -> Machine {
        let drive = |name: &str, path: &str, block| Drive {
            name: name.to_owned(),
            path: path.to_owned(),
            block,
            read_only: false,
        };
        Machine {
            shape: Shape::newest(),
            name: NAME.to_owned(),
            directory: layout.machine(),
            owner: Some(Owner { uid: 7, gid: 8 }),
            jailed_as: None,
            scope: None,
            vcpu: 1,
            memory_mib: 512,
            kernel: machine::KERNEL.to_owned(),
            initramfs: machine::INITRAMFS.to_owned(),
            boot_args: Vec::new(),
            disk_cache: DiskCache::Writeback,
            drives: vec![
                drive("root", &format!("/dev/banger/{NAME}"), true),
                drive("work", machine::WORK_DISK, false),
            ],
            interfaces: Vec::new(),
            channel: machine::AGENT.to_owned(),
            console: machine::CONSOLE.to_owned(),
        }
    }

    fn made() -> (Sim, Jail, VmLayout) {
        let layout = Layout::new("/state");
        let vm = layout.vm("aa12bb34".parse().unwrap());
        let sim = Sim::new();
        let path = vm.machine();
        let (mode, owner) = (0o700, None);
        sim.change(&Op::File(FileOp::MakeDirectory { path, mode, owner }))
            .unwrap();
        for name in [machine::KERNEL, machine::INITRAMFS, machine::WORK_DISK] {
            let (path, contents) = (vm.in_machine(name), Vec::new());
            let op = Op::File(FileOp::WriteFile {
                path,
                contents,
                mode,
                owner,
            });
            sim.change(&op).unwrap();
        }
        let jail = Jail::new(Path::new("/opt/firecracker"), layout.jails());
        (sim, jail, vm)
    }

    #[test]
    fn a_jail_has_the_machines_files_by_the_same_names() {
        let (sim, jail, vm) = made();
        jail.make(&machine(&vm), &vm, &sim).unwrap();
        let root = Path::new("/state/jails/firecracker")
            .join(NAME)
            .join("root");
        assert_eq!(jail.root(NAME), root);
        let state = sim.state();
        let files = state
            .files
            .keys()
            .filter_map(|it| it.strip_prefix(&root).ok());
        let files: Vec<&str> = files.map(|it| it.to_str().unwrap()).collect();
        let wanted = [
            "hypervisor.log",
            "initramfs",
            "metrics.json",
            machine::ROOT_DEVICE,
            "vmlinux",
            "work.img",
        ];
        assert_eq!(files, wanted);
    }

    #[test]
    fn only_the_machines_user_may_use_its_logs_and_its_disk() {
        let (sim, jail, vm) = made();
        jail.make(&machine(&vm), &vm, &sim).unwrap();
        let permissions = sim.state().permissions;
        for name in KEPT.into_iter().chain([machine::ROOT_DEVICE]) {
            let found = permissions[&jail.root(NAME).join(name)];
            assert_eq!((found.uid, found.mode), (7, 0o600), "{name}");
        }
        assert_eq!(permissions[&jail.root(NAME)].mode, 0o711);
    }

    #[test]
    fn what_an_earlier_run_left_is_gone() {
        let (sim, jail, vm) = made();
        jail.make(&machine(&vm), &vm, &sim).unwrap();
        let path = jail.root(NAME).join("firecracker.pid");
        let (contents, mode, owner) = (Vec::new(), 0o600, None);
        let left = path.clone();
        sim.change(&Op::File(FileOp::WriteFile {
            path,
            contents,
            mode,
            owner,
        }))
        .unwrap();
        jail.make(&machine(&vm), &vm, &sim).unwrap();
        assert!(!sim.state().files.contains_key(&left));
    }

    #[test]
    fn the_jailer_gets_the_user_and_passes_the_rest_on() {
        let (_, jail, vm) = made();
        let handed_on = ["--api-sock".to_owned(), "firecracker.sock".to_owned()];
        let arguments = jail.arguments(&machine(&vm), &handed_on).unwrap();
        let wanted = "--id banger-1-00ff-aa12bb34 --exec-file /opt/firecracker --uid 7 --gid 8 \
                      --chroot-base-dir /state/jails -- --api-sock firecracker.sock";
        assert_eq!(arguments.join(" "), wanted);
        assert_eq!(jail.jailer(), Path::new("/opt/jailer"));
    }

    #[test]
    fn a_machine_without_a_user_of_its_own_is_refused() {
        let (sim, jail, vm) = made();
        let mut machine = machine(&vm);
        machine.owner = None;
        let before = sim.state();
        assert!(jail.make(&machine, &vm, &sim).is_err());
        assert_eq!(sim.state(), before);
    }
}
