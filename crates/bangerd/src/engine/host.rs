//! The view of the host: its free memory and disk space, and its abilities.

use banger_api::{HostImage, HostView, HypervisorView};

use super::Engine;
use crate::error::{During, Result};
use crate::hypervisor::Hypervisor;
use crate::readiness;

impl Engine {
    /// The state of the host now. The checks of every hypervisor run anew.
    ///
    /// # Errors
    /// If the host does not report its memory, load or disk space, or the images cannot be read.
    pub fn host_view(&self) -> Result<HostView> {
        let host = self.host();
        let daemon = self.daemon();
        let slots = self.slots();
        let running = slots.iter().map(|slot| slot.vm());
        let running = running.filter(|vm| vm.process().is_some());
        let room = host
            .room(self.parts.layout.state())
            .during("determine the free space")?;
        let images = self.images()?.into_iter().map(|image| HostImage {
            name: image.name.to_string(),
            digest: image.digest,
        });
        Ok(HostView {
            name: host.name(),
            architecture: std::env::consts::ARCH.to_owned(),
            version: daemon.version,
            simulated: self.parts.simulated,
            cpus: host.cpus(),
            load: host.load().during("read the load")?,
            memory_mib: host.memory_mib().during("read the size of the memory")?,
            memory_free_mib: host.free_memory_mib().during("read the free memory")?,
            memory_of_vms_mib: running.map(|vm| vm.given().memory.0).sum(),
            disk_mib: room.size_mib,
            disk_free_mib: room.free_mib,
            hypervisors: self.hypervisor_views(),
            images: images.collect(),
            vms: daemon.vms,
            running: daemon.running,
        })
    }

    fn hypervisor_views(&self) -> Vec<HypervisorView> {
        let view = |hypervisor: &dyn Hypervisor| {
            let failed = readiness::require(self.host(), &hypervisor.checks()).err();
            HypervisorView {
                name: hypervisor.name().to_owned(),
                available: failed.is_none(),
                reason: failed.map(|error| error.message),
            }
        };
        let all = self.parts.hypervisors.iter();
        all.map(|it| view(&**it)).collect()
    }
}
