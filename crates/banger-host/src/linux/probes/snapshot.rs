//! Whether the kernel has device-mapper snapshots and loop devices, and we may use them.

use super::{bad, good, in_one_line};
use crate::linux::snapshot;
use crate::{Finding, Kind};

pub(super) fn probe() -> Finding {
    match snapshot::attempt() {
        Ok(found) => good(found),
        Err(error) => match error.kind() {
            Kind::Unsupported => bad(
                "this kernel has no device-mapper",
                "sudo modprobe dm-snapshot",
            ),
            Kind::Denied => bad("no right to use device-mapper", "banger system install"),
            _ => bad(
                in_one_line(&error),
                "sudo modprobe -a dm-snapshot dm-zero loop",
            ),
        },
    }
}
