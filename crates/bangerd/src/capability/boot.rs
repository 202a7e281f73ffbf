//! The parts that every machine boots with: its folder, kernel, initramfs, console and channel.

use std::path::{Path, PathBuf};

use banger_host::{Change, FileOp, Finding, Host, Kind, Op, Owner};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::{Layout, VmLayout, machine};
use crate::machine::DiskCache;
use crate::manifest::{self, Content};
use crate::plan::Plan;
use crate::readiness::Check;
use crate::storage;
use crate::vm::Vm;
use crate::volumes::Volumes;

/// The parts of a machine that are the same for all.
#[derive(Debug)]
pub struct Boot {
    layout: Layout,
    disk_cache: DiskCache,
    scopes: bool,
}

impl Boot {
    /// Boots from the images below this layout. `disks`: whether they flush. `scopes`: whether each
    /// hypervisor runs in its own systemd scope.
    #[must_use]
    pub fn new(layout: Layout, disk_cache: DiskCache, scopes: bool) -> Self {
        Self {
            layout,
            disk_cache,
            scopes,
        }
    }

    /// The finding of `doctor` about disks that do not flush; none about others.
    fn disk_cache_check(&self) -> Option<Check> {
        (self.disk_cache == DiskCache::Unsafe).then(|| {
            Check::new("disk cache", |_| Finding::Doubtful {
                found: "`disk_cache = \"unsafe\"`: a power failure of the host loses data \
                        of guests, synced or not"
                    .to_owned(),
                hint: "for VMs that matter, remove `disk_cache` from the configuration, then: \
                       banger daemon stop"
                    .to_owned(),
            })
        })
    }
}

/// The note of a VM whose disks do not flush.
const LOSES: &str =
    "`disk_cache = \"unsafe\"`: a power failure of the host loses its data, synced or not";

/// The arguments of the kernel.
///
/// `panic=1` and `-no-reboot` end the process after a panic; `net.ifnames=0` keeps `eth0`; the
/// i8042 arguments save half a second of probing for a keyboard on real hardware; `no_timer_check`
/// keeps a QEMU without KVM from hanging in timer calibration; `lsm=` is Debian's own list without
/// `bpf`, for which systemd would load a program at each boot; `cryptomgr.notests` skips the
/// kernel's tests of its own ciphers, a tenth of an emulated boot; cloud-init of a cloud image would wait
/// for a cloud's data, and replace host keys and network settings.
const BOOT_ARGS: [&str; 13] = [
    "console=ttyS0",
    "reboot=k",
    "panic=1",
    "net.ifnames=0",
    "i8042.noaux",
    "i8042.nomux",
    "i8042.dumbkbd",
    "no_timer_check",
    "loglevel=4",
    "systemd.show_status=0",
    "lsm=landlock,lockdown,yama,integrity,apparmor",
    "cryptomgr.notests",
    "cloud-init=disabled",
];

/// Checks that the files which the hypervisor opens belong to the user that it runs as. A copied
/// state directory may have lost the owners.
fn owner_check(layout: VmLayout, owner: Option<Owner>) -> Check {
    Check::new("owner of the disks", move |host| {
        let uid = owner.map_or_else(|| host.uid(), |owner| owner.uid);
        let machine = layout.machine();
        let names = [
            machine::ROOT_DISK,
            machine::WORK_DISK,
            machine::CONSOLE,
            machine::HYPERVISOR_LOG,
        ];
        let files = names.map(|name| layout.in_machine(name));
        for path in std::iter::once(&machine).chain(&files) {
            match host.stat(path) {
                Ok(Some(stat)) if stat.uid != uid => {
                    return Finding::Bad {
                        found: format!(
                            "`{}` belongs to user {}, and this VM runs as user {uid}; a copy \
                             without owners (cp -r) causes this",
                            path.display(),
                            stat.uid
                        ),
                        hint: chown(owner, uid, &machine),
                    };
                }
                Ok(_) => {}
                Err(error) => {
                    return Finding::Bad {
                        found: error.to_string(),
                        hint: chown(owner, uid, &machine),
                    };
                }
            }
        }
        Finding::Good(format!("user {uid}"))
    })
}

/// The command that restores the owner of a machine's folder.
fn chown(owner: Option<Owner>, uid: u32, machine: &Path) -> String {
    let group = owner.map_or_else(String::new, |owner| format!(":{}", owner.gid));
    // No symbolic link is followed, neither on the way nor as the last component.
    format!("sudo chown -RPh {uid}{group} '{}'", machine.display())
}

/// A copy of the image's kernel, which shares blocks if the file system can, and never the file
/// itself.
fn own_kernel(from: PathBuf, to: PathBuf, host: &dyn Host) -> banger_host::Result<Change> {
    let owner = None;
    let clone = Op::File(FileOp::CloneFile {
        from: from.clone(),
        to: to.clone(),
        owner,
    });
    match host.change(&clone) {
        Err(error) if error.kind() == Kind::Unsupported => {
            host.change(&Op::File(FileOp::CopyFile { from, to, owner }))
        }
        done => done,
    }
}

impl Capability for Boot {
    fn name(&self) -> &'static str {
        "boot"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        let Some(vm) = vm else {
            return self.disk_cache_check().into_iter().collect();
        };
        let layout = self.layout.image(&vm.images.kernel);
        let name = vm.images.name.clone();
        let image = Check::new("image", move |host| {
            match (
                host.stat(&layout.kernel()),
                host.stat(&layout.base_archive()),
            ) {
                (Ok(Some(_)), Ok(Some(_))) => Finding::Good(format!("`{name}`")),
                _ => Finding::Bad {
                    found: format!("the kernel in `{}` is missing", layout.folder().display()),
                    hint: "restore it from a backup; without it this VM cannot start".to_owned(),
                },
            }
        });
        vec![image, owner_check(self.layout.vm(vm.id), vm.owner)]
    }

    fn choose(&self, vm: &mut Vm, _host: &dyn Host) -> Result<()> {
        if self.disk_cache == DiskCache::Unsafe {
            vm.note_run(|run| run.notes.push(LOSES.to_owned()));
        }
        Ok(())
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        if let Some(boot) = vm.last_boot.as_ref().filter(|_| self.scopes) {
            // systemd takes a moment to notice that a scope's process has ended, and rejects a new
            // scope with the same name until then: each boot has a scope of its own.
            plan.machine.scope = Some(format!("{}-{}", plan.machine.name, boot.number));
        }
        let machine = &mut plan.machine;
        machine.kernel = machine::KERNEL.to_owned();
        machine.initramfs = machine::INITRAMFS.to_owned();
        machine.console = machine::CONSOLE.to_owned();
        machine.channel = machine::AGENT.to_owned();
        machine.boot_args = BOOT_ARGS.iter().map(|word| (*word).to_owned()).collect();
        machine.disk_cache = self.disk_cache;
        machine.vcpu = vm.spec.vcpu;
        machine.memory_mib = vm.spec.memory.0;
        Ok(())
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = self.layout.vm(vm.id).machine();
        host.change(&Op::File(FileOp::MakeDirectory {
            path,
            mode: 0o700,
            owner: vm.owner,
        }))
        .during("make the machine's folder")
        .map(drop)
    }

    fn contents(&self, vm: &Vm, host: &dyn Host) -> Result<Vec<Content>> {
        let image = self.layout.image(&vm.images.kernel);
        let files = [
            (manifest::KERNEL, image.kernel()),
            (manifest::MODULES, image.base_archive()),
        ];
        let content = |(name, path)| {
            let file = storage::whole_file(path, host).during("look at the kernel")?;
            Ok(Content { name, file })
        };
        files.into_iter().map(content).collect()
    }

    fn prepare(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let from = self.layout.image(&vm.images.kernel).kernel();
        let to = self.layout.vm(vm.id).in_machine(machine::KERNEL);
        let given = match vm.jailed_as() {
            // In a jail that the root helper makes, the hypervisor may write all files of the
            // folder.
            Some(_) => own_kernel(from, to, host),
            None => host.change(&Op::File(FileOp::LinkFile { from, to })),
        };
        given.during("copy the machine's kernel").map(drop)
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let layout = self.layout.vm(vm.id);
        let mut first = Ok(());
        for name in [
            machine::KERNEL,
            machine::INITRAMFS,
            machine::CONSOLE_INPUT,
            machine::AGENT,
            machine::STREAMS,
            machine::SHARE,
            machine::ROOT_DEVICE,
            machine::QMP,
            machine::GUEST_SOCKET,
            machine::OUTSIDE_SOCKET,
            machine::FIRECRACKER_SOCKET,
        ] {
            let path = layout.in_machine(name);
            let removed = host
                .change(&Op::File(FileOp::RemoveFile { path }))
                .during(format!("remove the machine's `{name}`"));
            first = first.and(removed.map(drop));
        }
        first
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        Volumes::refuse_attached(&self.layout, vm, host)?;
        let path = self.layout.vm(vm.id).machine();
        host.change(&Op::File(FileOp::RemoveDirectory { path }))
            .during("remove the machine's folder")
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::assemble::tests::made;
    use crate::vm::Run;
    use banger_host::Linux;

    #[test]
    fn a_machine_in_a_jail_of_roots_cannot_change_the_kernel_of_others() {
        let (_, mut vm, _) = made();
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::new(state.path());
        let image = layout.image(&vm.images.kernel);
        let kernel = layout.vm(vm.id).in_machine(machine::KERNEL);
        fs::create_dir_all(image.folder()).unwrap();
        fs::create_dir_all(layout.vm(vm.id).machine()).unwrap();
        fs::write(image.kernel(), "the kernel of all").unwrap();
        let boot = Boot::new(layout, DiskCache::Writeback, false);
        let host = Linux::new().unwrap();
        let links = || fs::metadata(&kernel).unwrap().nlink();

        vm.run = None;
        boot.prepare(&vm, &host).unwrap();
        assert_eq!(links(), 2, "nothing is copied where nobody could write it");
        // A copy replaces the link that an earlier run has left.
        vm.run = Some(Run {
            jailed_as: Some(Owner { uid: 7, gid: 7 }),
            ..Run::begin(vm.spec.clone(), vm.created, "boot".to_owned())
        });
        for _ in 0..2 {
            boot.prepare(&vm, &host).unwrap();
            assert_eq!(links(), 1);
        }
        fs::write(&kernel, "another").unwrap();
        assert_eq!(
            fs::read(image.kernel()).unwrap(),
            b"the kernel of all",
            "the image was written through the machine's folder"
        );
        boot.teardown(&vm, &host).unwrap();
        assert!(!kernel.exists());
    }
}
