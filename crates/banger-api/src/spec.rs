//! What a VM has: [`VmSpec`], the same value in a record, in a view and in the configuration's
//! defaults, and [`VmSpecPatch`], what a create and a set say of it.
//!
//! A new setting is a field of both, a line of [`VmSpec::apply`], and its range in
//! [`VmSpec::check`] where it has one.

use serde::{Deserialize, Serialize};

use crate::{Mib, limits};

/// The settings of a VM, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmSpec {
    /// The number of virtual CPUs.
    pub vcpu: u32,
    /// The memory, in MiB.
    #[serde(rename = "memory_mib")]
    pub memory: Mib,
    /// The size of the work disk (`/root`), in MiB.
    #[serde(rename = "disk_size_mib")]
    pub disk_size: Mib,
    /// The size of the system disk (`/`), in MiB.
    #[serde(rename = "system_disk_size_mib")]
    pub system_disk_size: Mib,
    /// Whether the VM reaches the outside through the host.
    pub nat: bool,
}

/// A change to a [`VmSpec`]: what is left out stays as it is. Sizes of disks only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VmSpecPatch {
    /// The number of virtual CPUs.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 64))]
    pub vcpu: Option<u32>,
    /// The memory, in MiB.
    #[serde(rename = "memory_mib")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 192, maximum = 67_108_864))]
    pub memory: Option<Mib>,
    /// The size of the work disk (`/root`), in MiB.
    #[serde(rename = "disk_size_mib")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 64, maximum = 67_108_864))]
    pub disk_size: Option<Mib>,
    /// The size of the system disk (`/`), in MiB.
    #[serde(rename = "system_disk_size_mib")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 64, maximum = 67_108_864))]
    pub system_disk_size: Option<Mib>,
    /// Whether the VM reaches the outside through the host.
    pub nat: Option<bool>,
}

impl VmSpec {
    /// The spec after a change.
    #[must_use]
    pub fn apply(&self, patch: &VmSpecPatch) -> Self {
        Self {
            vcpu: patch.vcpu.unwrap_or(self.vcpu),
            memory: patch.memory.unwrap_or(self.memory),
            disk_size: patch.disk_size.unwrap_or(self.disk_size),
            system_disk_size: patch.system_disk_size.unwrap_or(self.system_disk_size),
            nat: patch.nat.unwrap_or(self.nat),
        }
    }

    /// Rejects what no host can give. Memory that is as it was before passes: the least amount
    /// has grown, and a VM made earlier keeps what it has.
    ///
    /// # Errors
    /// In words, with the range, for the first setting that is outside of it.
    pub fn check(&self, before: Option<&Self>) -> Result<(), String> {
        limits::vcpu(self.vcpu)?;
        if before.is_none_or(|before| before.memory != self.memory) {
            limits::memory(self.memory)?;
        }
        limits::disk(self.disk_size)?;
        limits::disk(self.system_disk_size)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> VmSpec {
        VmSpec {
            vcpu: 2,
            memory: Mib(2048),
            disk_size: Mib(16384),
            system_disk_size: Mib(16384),
            nat: false,
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        assert_eq!(spec().apply(&VmSpecPatch::default()), spec());
        let patch = VmSpecPatch {
            memory: Some(Mib(4096)),
            nat: Some(true),
            ..VmSpecPatch::default()
        };
        let expected = VmSpec {
            memory: Mib(4096),
            nat: true,
            ..spec()
        };
        assert_eq!(spec().apply(&patch), expected);
    }

    #[test]
    fn memory_below_the_least_is_kept_and_not_given() {
        let small = VmSpec {
            memory: Mib(128),
            ..spec()
        };
        assert!(small.check(None).unwrap_err().contains("at least 192M"));
        assert!(small.check(Some(&spec())).is_err());
        assert_eq!(small.check(Some(&small)), Ok(()));
    }
}
