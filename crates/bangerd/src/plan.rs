//! The plan of one start: the machine, and what its guest is told.
//!
//! A pure value. Each capability adds its part to both sides at once, so that a disk's place in the
//! machine and its name in the guest cannot drift apart.

use crate::guest::config::GuestConfig;
use crate::machine::{Drive, Machine};

/// A machine and its guest, while capabilities add to them.
#[derive(Debug)]
pub struct Plan {
    /// What the hypervisor is given.
    pub machine: Machine,
    /// What the guest is given.
    pub guest: GuestConfig,
}

impl Plan {
    /// A plan that begins with this machine, and a guest that is told nothing.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        let guest = GuestConfig::default();
        Self { machine, guest }
    }

    /// Adds a drive after those that are there, and returns its device in the guest.
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
