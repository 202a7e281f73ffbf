//! Level 6: a QEMU guest that *is* the host, driven from outside over SSH.
//!
//! There, and only there, can be had on any machine: device-mapper, systemd as the first process,
//! nested KVM, Firecracker, the root program, and a power cut. docs/lab.md tells what it is made of.
//!
//! `BANGER_LAB` names the folder with the payload that `tools/lab payload` made; without it every
//! test here is counted as skipped. `BANGER_LAB_FULL=1` adds those that take long. The tests run
//! one after the other, in the order of their names, and those of one module share a lab.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::print_stderr,
    reason = "skips and what was measured are counted and read by what is printed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts programs, and waits for what goes on outside of it"
)]

mod direct;
mod dm_snapshot;
mod firecracker;
mod full_host;
mod host;
mod leftovers;
mod ordinary_user;
mod power_cut;
mod said;
mod shared;
