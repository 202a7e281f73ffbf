//! The plan of one start: the machine and the guest config.
//!
//! A pure value. A capability adds to both at once, so that a disk's position in the machine and
//! its device name in the guest always agree.

use crate::guest::config::GuestConfig;
use crate::machine::{Drive, Machine};

/// The machine and the guest config, to which capabilities add.
#[derive(Debug)]
pub struct Plan {
    /// The machine for the hypervisor.
    pub machine: Machine,
    /// The config for the guest.
    pub guest: GuestConfig,
}

impl Plan {
    /// A plan with this machine and an empty guest config.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        let guest = GuestConfig::default();
        Self { machine, guest }
    }

    /// Appends a drive, and returns its device in the guest.
    ///
    /// Guests name virtio drives in the order of their slots: `vda`, `vdb` … `vdz`, `vdaa`.
    pub fn disk(&mut self, drive: Drive) -> String {
        let device = device(self.machine.drives.len());
        self.machine.drives.push(drive);
        device
    }
}

/// The device of the drive with this index, as Linux names it (`virtblk_name_format` in
/// <https://github.com/torvalds/linux/blob/master/drivers/block/virtio_blk.c>).
fn device(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(25)));
        rest /= 26;
    }
    let letters: String = letters.into_iter().rev().collect();
    format!("/dev/vd{letters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_are_named_in_their_order() {
        for (index, name) in [
            (0, "/dev/vda"),
            (1, "/dev/vdb"),
            (25, "/dev/vdz"),
            (26, "/dev/vdaa"),
            (52, "/dev/vdba"),
            (701, "/dev/vdzz"),
            (702, "/dev/vdaaa"),
        ] {
            assert_eq!(device(index), name);
        }
    }
}
