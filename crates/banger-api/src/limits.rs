//! The ranges of settings that hold on every host. What one host can give is judged by its daemon.

use std::ops::RangeInclusive;

use crate::Mib;

/// The number of virtual CPUs.
pub const VCPUS: RangeInclusive<u32> = 1..=64;

/// The least memory, in MiB: with less, `apt-get update` is killed for want of it.
pub const LEAST_MEMORY: Mib = Mib(192);

/// The most memory of any host, in MiB; a VM can have what its own host has.
pub const MOST_MEMORY: Mib = Mib(64 << 20);

/// The size of a disk, in MiB.
pub const DISKS: RangeInclusive<Mib> = Mib(64)..=Mib(64 << 20);

/// A number of virtual CPUs.
///
/// # Errors
/// In words, with the range, where it is outside of [`VCPUS`].
pub fn vcpu(count: u32) -> Result<u32, String> {
    if VCPUS.contains(&count) {
        return Ok(count);
    }
    let (least, most) = (VCPUS.start(), VCPUS.end());
    Err(format!(
        "the number of vCPUs must be {least} to {most}, not {count}"
    ))
}

/// An amount of memory.
///
/// # Errors
/// In words, where it is below [`LEAST_MEMORY`] or above [`MOST_MEMORY`].
pub fn memory(size: Mib) -> Result<Mib, String> {
    if size > MOST_MEMORY {
        return Err(format!("memory must be at most {MOST_MEMORY}, not {size}"));
    }
    if size >= LEAST_MEMORY {
        return Ok(size);
    }
    Err(format!(
        "memory must be at least {LEAST_MEMORY}, not {size}{}",
        in_gib(size)
    ))
}

/// The size of a disk.
///
/// # Errors
/// In words, with the range, where it is outside of [`DISKS`].
pub fn disk(size: Mib) -> Result<Mib, String> {
    if DISKS.contains(&size) {
        return Ok(size);
    }
    let (least, most) = (DISKS.start(), DISKS.end());
    Err(format!(
        "a disk must be {least} to {most}, not {size}{}",
        in_gib(size)
    ))
}

/// What somebody who gave a bare number may have meant.
fn in_gib(size: Mib) -> String {
    let gib = Mib(size.0.saturating_mul(1024));
    if size < *DISKS.start() {
        format!("; did you mean {gib}?")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_told_its_range() {
        assert_eq!(
            vcpu(0).unwrap_err(),
            "the number of vCPUs must be 1 to 64, not 0"
        );
        assert_eq!(
            memory(Mib(4)).unwrap_err(),
            "memory must be at least 192M, not 4M; did you mean 4G?"
        );
        assert!(memory(Mib(u64::MAX)).unwrap_err().contains("at most 64T"));
        assert_eq!(
            disk(Mib(20)).unwrap_err(),
            "a disk must be 64M to 64T, not 20M; did you mean 20G?"
        );
        assert_eq!(
            (vcpu(64), memory(Mib(192)), disk(Mib(64))),
            (Ok(64), Ok(Mib(192)), Ok(Mib(64)))
        );
    }
}
