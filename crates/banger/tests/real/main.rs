//! Level 5: real VMs, driven through the real CLI and the real daemon.
//!
//! Boots are slow without KVM, so guests are shared: the tests run one after the other, in the order
//! of their names, and each leaves its guest running. `BANGER_TEST_BUNDLE` names a bundle; without
//! it, or without root, every test here is counted as skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "skips are counted by what is printed")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts programs, and waits for what goes on outside of it"
)]

mod ordinary_user;
mod root_helper;
mod shared;
mod world;
