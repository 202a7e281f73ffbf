//! Grows a mounted ext4 file system to the size of its device.

use std::fs::{self, File};

use super::superblock::Superblock;
use crate::failure::{Context as _, Result};
use crate::system::{console, raw};

/// The unit in which the kernel reports a device's size, in bytes.
const SECTOR: u64 = 512;

/// A device's size, in bytes.
fn device_size(device: &str) -> Result<u64> {
    let name = device.trim_start_matches("/dev/");
    let path = format!("/sys/class/block/{name}/size");
    let sectors = fs::read_to_string(&path).while_doing(|| format!("read `{path}`"))?;
    let sectors: u64 = sectors
        .trim()
        .parse()
        .while_doing(|| format!("read `{path}`"))?;
    Ok(sectors * SECTOR)
}

/// Grows the file system on `device`, mounted at `mount`, if the device has more blocks.
pub(crate) fn grow(device: &str, mount: &str) -> Result<()> {
    let superblock = Superblock::read(device)?;
    let blocks = device_size(device)? / superblock.block_size;
    if blocks <= superblock.blocks {
        return Ok(());
    }
    let what = || {
        let bytes = blocks * superblock.block_size;
        format!("grow the file system at `{mount}` to {} MiB", bytes >> 20)
    };
    let directory = File::open(mount).while_doing(what)?;
    raw::resize_ext4(&directory, blocks).while_doing(what)?;
    console::note(&format!(
        "the file system at `{mount}` grew to {blocks} blocks"
    ));
    Ok(())
}
