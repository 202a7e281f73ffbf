//! The verbs on volumes, and the VMs that use them.
//!
//! A volume is in the settings of at most one VM, so it has one writer at a time, whichever VMs
//! run. A running VM keeps a removed volume until it stops.

use std::sync::{Arc, MutexGuard};

use banger_api::{
    Code, CreateVolume, Error, InvalidName, Mib, VmName, VmSpec, VolumeName, VolumeView, limits,
};

use super::{Engine, ProgressSink, lock, step};
use crate::error::{During, Result};
use crate::vm::Vm;
use crate::volumes::Volumes;

/// The size of a new volume, in MiB.
const USUAL: Mib = Mib(16 << 10);

impl Engine {
    fn volume_store(&self) -> Volumes {
        Volumes::new(self.parts.layout.clone())
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn volumes(&self) -> Result<Vec<VolumeView>> {
        let mut names = self.volume_store().names(self.host())?;
        // The only link of a volume's file may be in the folder of a machine.
        for slot in self.all_slots() {
            names.extend(had(&slot.vm()).cloned());
        }
        names.sort();
        names.dedup();
        let views = names.iter().map(|name| self.volume_view(name));
        Ok(views
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// One volume.
    ///
    /// # Errors
    /// `not-found`.
    pub fn volume(&self, name: &VolumeName) -> Result<VolumeView> {
        self.volume_view(name)?.ok_or_else(|| {
            Error::new(Code::NotFound, format!("there is no volume `{name}`"))
                .hint("list the volumes: banger volume list")
                .hint(format!("create it: banger volume create {name}"))
        })
    }

    fn volume_view(&self, name: &VolumeName) -> Result<Option<VolumeView>> {
        let users = self.users_of_volume(name);
        let vms: Vec<&Vm> = users.iter().map(|vm| &**vm).collect();
        let stat = self.volume_store().look(name, &vms, self.host())?;
        let mut users: Vec<VmName> = users.iter().map(|vm| vm.name.clone()).collect();
        users.sort();
        Ok(stat.map(|stat| VolumeView {
            name: name.clone(),
            size_bytes: stat.length,
            allocated_bytes: stat.allocated,
            users,
        }))
    }

    /// The VMs that use a volume, including those in the trash.
    fn users_of_volume(&self, name: &VolumeName) -> Vec<Arc<Vm>> {
        let slots = self.all_slots();
        let vms = slots.iter().map(|slot| slot.vm());
        vms.filter(|vm| had(vm).any(|it| it == name)).collect()
    }

    /// Creates an empty volume.
    ///
    /// # Errors
    /// `invalid` for an invalid name or size, `conflict` for a name that is taken.
    pub fn create_volume(
        &self,
        request: &CreateVolume,
        progress: ProgressSink<'_>,
    ) -> Result<VolumeView> {
        let invalid = |what: String| Error::new(Code::Invalid, what);
        let name: VolumeName =
            (request.name.parse()).map_err(|cause: InvalidName| invalid(cause.to_string()))?;
        let doing = || format!("create the volume `{name}`");
        let size = limits::disk(request.size.unwrap_or(USUAL)).map_err(invalid);
        let size = size.during(doing())?;
        let _claims = lock(&self.volume_claims);
        if self.volume_view(&name)?.is_some() {
            return Err(Error::new(Code::Conflict, "it exists already")
                .hint("choose another name: banger volume list")
                .within(doing()));
        }
        let largest = self.host().largest_file(self.parts.layout.state());
        let largest = Mib(largest.during(doing())? >> 20);
        if size > largest {
            let what = format!("the host's file system takes files up to {largest}");
            return Err(Error::new(Code::Conflict, what).within(doing()));
        }
        step(progress, "create", || {
            self.volume_store().create(&name, size, self.host())
        })
        .during(doing())?;
        self.volume(&name)
    }

    /// Deletes an unused volume; returns its last state.
    ///
    /// # Errors
    /// `not-found`; `conflict` with the VMs that use it.
    pub fn delete_volume(&self, name: &VolumeName) -> Result<VolumeView> {
        let doing = || format!("delete the volume `{name}`");
        let _claims = lock(&self.volume_claims);
        let last = self.volume(name).during(doing())?;
        self.refuse_unknown_users().during(doing())?;
        if let Some(user) = last.users.first() {
            let users: Vec<String> = last.users.iter().map(ToString::to_string).collect();
            return Err(Error::new(Code::Conflict, "it is in use")
                .cause(format!("by {}", users.join(", ")))
                .hint(format!(
                    "remove it from the VM, which releases it when it stops: banger vm set {user} --no-volume {name}"
                ))
                .within(doing()));
        }
        self.volume_store()
            .remove(name, self.host())
            .during(doing())?;
        Ok(last)
    }

    /// Rejects volumes that do not exist or that another VM uses, unless the VM had them `before`.
    /// No other VM can claim one until the guard is dropped; the caller saves the record first.
    pub(super) fn claim_volumes(
        &self,
        vm: &Vm,
        before: Option<&VmSpec>,
    ) -> Result<MutexGuard<'_, ()>> {
        let claims = lock(&self.volume_claims);
        let is_new = |name: &&VolumeName| before.is_none_or(|it| !it.volumes.contains_key(*name));
        for name in vm.spec.volumes.keys().filter(is_new) {
            let view = self.volume(name)?;
            self.refuse_unknown_users()?;
            if let Some(other) = self.users_of_volume(name).iter().find(|it| it.id != vm.id) {
                let what = format!("the volume `{name}` is in use by `{}`", other.name);
                return Err(Error::new(Code::Conflict, what).hint(format!(
                    "remove it from that VM, which releases it when it stops: banger vm set {} --no-volume {}",
                    other.name, view.name
                )));
            }
        }
        Ok(claims)
    }

    /// A VM whose record cannot be read may use any volume.
    fn refuse_unknown_users(&self) -> Result<()> {
        if lock(&self.unreadable).is_empty() {
            return Ok(());
        }
        let what = "a VM whose record cannot be read may use it";
        Err(Error::new(Code::NotReady, what).hint("see why: banger daemon status"))
    }
}

/// The volumes in a VM's settings, and those that it runs with.
fn had(vm: &Vm) -> impl Iterator<Item = &VolumeName> {
    vm.spec.volumes.keys().chain(vm.given().volumes.keys())
}
