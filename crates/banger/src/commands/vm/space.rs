//! The space that VMs take on the host.

use banger_api::{DiskView, Mib, VmView};

/// The bytes of its disks that it shares with no image and no clone.
pub(crate) fn own_bytes(vm: &VmView) -> u64 {
    // A store of dm-snapshot contains only the VM's own data.
    let is_part_shared = vm.root_disk == "reflink";
    let own = |disk: &DiskView| {
        let shared = disk.shared_bytes.filter(|_| is_part_shared);
        disk.allocated_bytes.saturating_sub(shared.unwrap_or(0))
    };
    vm.disks.iter().map(own).sum()
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> Mib {
    Mib(bytes.div_ceil(1 << 20))
}
