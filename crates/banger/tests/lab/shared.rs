//! The lab that the tests of a root daemon share, so that it boots, and takes its image in, once.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::host::{Lab, User};

/// Waits that suit a host which may itself be emulated, and then has one CPU to give.
pub(crate) const PATIENT: &str =
    "start_timeout_seconds = 600\nstop_timeout_seconds = 300\nvcpu = 1";

/// As little of a VM as boots.
pub(crate) const SMALL: &str = "--memory 384 --disk-size 512M";

static LAB: LazyLock<Mutex<Option<Lab>>> = LazyLock::new(|| Mutex::new(None));

/// The lab, its daemon with this configuration, which begins with [`PATIENT`].
pub(crate) fn root_lab(configuration: &str) -> MutexGuard<'static, Option<Lab>> {
    let mut lab = LAB.lock().unwrap_or_else(PoisonError::into_inner);
    lab.get_or_insert_with(Lab::new)
        .configure(User::Root, configuration);
    lab
}

/// libtest never drops statics, so the last test in the order of names takes it out.
pub(crate) fn end() {
    drop(LAB.lock().unwrap_or_else(PoisonError::into_inner).take());
}
