//! The lab that tests share, so that it boots, and takes its image in, once.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::host::{Lab, User};

/// Waits that suit a host which may itself be emulated, and then has one CPU to give.
pub(crate) const PATIENT: &str =
    "start_timeout_seconds = 600\nstop_timeout_seconds = 300\nvcpu = 1";

/// As little of a VM as boots.
pub(crate) const SMALL: &str = "--memory 384 --disk-size 512M";

/// Whose daemons a lab is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A daemon that is root's.
    Root,
    /// Daemons of ordinary users, with the root program.
    OrdinaryUsers,
}

static LAB: LazyLock<Mutex<Option<(Purpose, Lab)>>> = LazyLock::new(Mutex::default);

/// The lab, while a test uses it.
#[derive(Debug)]
pub(crate) struct SharedLab(MutexGuard<'static, Option<(Purpose, Lab)>>);

impl std::ops::Deref for SharedLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0.as_ref().unwrap().1
    }
}

/// The lab for this purpose. One that is there for another ends first: two at once are more than a
/// small machine has memory and time for.
pub(crate) fn lab(purpose: Purpose) -> SharedLab {
    let mut lab = LAB.lock().unwrap_or_else(PoisonError::into_inner);
    if lab.as_ref().is_none_or(|(other, _)| *other != purpose) {
        drop(lab.take());
        *lab = Some((purpose, Lab::new()));
    }
    SharedLab(lab)
}

/// The lab of a root daemon with this configuration, which begins with [`PATIENT`].
pub(crate) fn root_lab(configuration: &str) -> SharedLab {
    let lab = lab(Purpose::Root);
    lab.configure(User::Root, configuration);
    lab
}

/// Ends the lab, after the last test.
pub(crate) fn end() {
    drop(LAB.lock().unwrap_or_else(PoisonError::into_inner).take());
}
