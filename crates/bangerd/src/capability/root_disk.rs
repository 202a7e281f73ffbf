//! The guest's disk at `/`: the VM's own writable layer over an image's base.
//!
//! A storage driver makes the layer; a VM keeps the driver that it was created with.

use std::collections::BTreeSet;
use std::sync::Arc;

use banger_api::{Code, DiskView, Error, Mib, Phase, Verdict, VmId};
use banger_host::{Finding, Host};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::machine::Drive;
use crate::manifest::{self, Content};
use crate::plan::Plan;
use crate::readiness::{self, Check};
use crate::storage::{self, RootDisk};
use crate::vm::Vm;

/// The free space to leave on the state directory's file system when a VM is created, in MiB.
const SPARE: u64 = 512;

type Drivers = Arc<[Box<dyn RootDisk>]>;

/// The root disk, with the driver of each VM.
#[derive(Debug)]
pub struct RootDisks {
    layout: Layout,
    drivers: Drivers,
    wanted: &'static str,
}

impl RootDisks {
    /// The available drivers. `wanted` is the configured choice for new VMs: `auto`, or the name of
    /// a driver.
    #[must_use]
    pub fn new(layout: Layout, drivers: Vec<Box<dyn RootDisk>>, wanted: &'static str) -> Self {
        Self {
            layout,
            drivers: drivers.into(),
            wanted,
        }
    }

    fn driver(&self, vm: &Vm) -> Result<&dyn RootDisk> {
        self.drivers
            .iter()
            .find(|driver| driver.name() == vm.root_disk)
            .map(|driver| &**driver)
            .ok_or_else(|| {
                Error::new(
                    Code::NotReady,
                    format!(
                        "this version of banger has no root-disk driver `{}`",
                        vm.root_disk
                    ),
                )
                .hint("run the version of banger that created the VM, or a newer one")
            })
    }

    /// Rejects a disk that is smaller than its image, or too large for the free space.
    fn admits_new(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let image = self.layout.image(&vm.images.root).root();
        let Some(stat) = host.stat(&image).during("examine the image")? else {
            return Err(Error::new(
                Code::NotReady,
                format!("the image `{}` is missing", image.display()),
            )
            .hint("banger bundle build"));
        };
        let least = Mib(stat.length.div_ceil(1 << 20));
        if vm.spec.system_disk_size < least {
            return Err(Error::new(
                Code::Conflict,
                format!(
                    "{} for the system disk is too small: the image takes {least}",
                    vm.spec.system_disk_size
                ),
            ));
        }
        let needed = stat.allocated.div_ceil(1 << 20) + SPARE;
        let state = self.layout.state();
        let free = host.free_mib(state).during("determine the free space")?;
        if free < needed {
            return Err(Error::new(
                Code::NotReady,
                format!(
                    "{} MiB are free for `{}`, and a new VM needs {needed} MiB",
                    free,
                    state.display()
                ),
            )
            .hint("free some space, or delete a VM: banger vm list"));
        }
        Ok(())
    }
}

/// The check that names the driver for new VMs, and why `auto` skipped others.
fn choice(drivers: Drivers) -> Check {
    Check::new("root-disk driver", move |host| {
        let mut passed_over = String::new();
        for driver in &*drivers {
            let report = readiness::report(host, &driver.checks(None));
            let name = driver.name();
            let Some(failed) = report.checks.iter().find(|it| it.verdict == Verdict::Fail) else {
                let found: Vec<&str> = report.checks.iter().map(|it| &*it.found).collect();
                let found = if found.is_empty() {
                    "works everywhere".to_owned()
                } else {
                    found.join("; ")
                };
                return Finding::Good(format!("`auto` takes `{name}`: {found}{passed_over}"));
            };
            passed_over += &format!("; not `{name}`: {}", failed.found);
        }
        Finding::Bad {
            found: format!("there is none{passed_over}"),
            hint: "banger doctor".to_owned(),
        }
    })
}

impl Capability for RootDisks {
    fn name(&self) -> &'static str {
        "root disk"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        match vm {
            Some(vm) => self
                .driver(vm)
                .map(|driver| driver.checks(Some(vm)))
                .unwrap_or_default(),
            // With `auto`, a driver that does not work here is skipped, which is not a fault.
            None => {
                let wanted = self
                    .drivers
                    .iter()
                    .filter(|driver| driver.name() == self.wanted);
                let wanted = wanted.flat_map(|driver| driver.checks(None));
                wanted.chain([choice(self.drivers.clone())]).collect()
            }
        }
    }

    fn choose(&self, vm: &mut Vm, host: &dyn Host) -> Result<()> {
        if vm.phase == Phase::Creating {
            let driver = storage::choose(self.wanted, &self.drivers, host)?;
            // Only a file can become an image; the last driver makes one on every host.
            let of_files = self.drivers.iter().rfind(|it| !it.is_block());
            let driver = match of_files {
                Some(of_files) if vm.builds.is_some() && driver.is_block() => &**of_files,
                _ => driver,
            };
            vm.root_disk = driver.name().to_owned();
            return Ok(());
        }
        // The notes of a start stay with its run; the next start repairs the cause.
        let notes = self.notes(vm, host);
        vm.note_run(|run| run.notes.extend(notes));
        Ok(())
    }

    fn admits(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        if vm.phase == Phase::Creating {
            self.admits_new(vm, host)?;
        }
        let driver = self.driver(vm)?;
        let (size, file) = (vm.spec.system_disk_size, driver.file(vm));
        storage::admit_size("system disk", size, &file, |mib| driver.file_mib(mib), host)
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        let driver = self.driver(vm)?;
        let device = plan.disk(Drive {
            name: "root".to_owned(),
            path: driver.path(vm),
            block: driver.is_block(),
            read_only: false,
        });
        plan.guest.root("root disk", &device)
    }

    fn notes(&self, vm: &Vm, host: &dyn Host) -> Vec<String> {
        self.driver(vm)
            .map(|driver| driver.notes(vm, host))
            .unwrap_or_default()
    }

    fn disks(&self, vm: &Vm, host: &dyn Host) -> Vec<DiskView> {
        let driver = self.driver(vm).ok();
        let usage = driver.and_then(|driver| driver.usage(vm, host));
        usage.into_iter().collect()
    }

    fn breaks_when_full(&self, vm: &Vm) -> bool {
        self.driver(vm).is_ok_and(RootDisk::breaks_when_full)
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .create(vm, host)
            .during("create the root disk")
    }

    fn duplicate(&self, of: &Vm, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .duplicate(of, vm, host)
            .during("copy the root disk")
    }

    fn contents(&self, vm: &Vm, host: &dyn Host) -> Result<Vec<Content>> {
        let file = self.driver(vm)?.content(vm, host);
        let (name, file) = (manifest::ROOT, file.during("look at the root disk")?);
        Ok(vec![Content { name, file }])
    }

    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?.grow(vm, host).during("grow the root disk")
    }

    fn prepare(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .prepare(vm, host)
            .during("attach the root disk")
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .teardown(vm, host)
            .during("detach the root disk")
    }

    fn strangers(&self, vms: &BTreeSet<VmId>, host: &dyn Host) -> Result<Vec<String>> {
        let strangers = self.drivers.iter().map(|it| it.strangers(vms, host));
        Ok(strangers.collect::<Result<Vec<_>>>()?.concat())
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .delete(vm, host)
            .during("remove the root disk")
    }
}
