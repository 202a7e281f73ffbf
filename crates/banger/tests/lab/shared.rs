//! The lab that tests share, so that it boots and imports its image only once.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::host::{Lab, User};

/// Timeouts for a host that may be emulated, with one CPU.
pub(crate) const PATIENT: &str =
    "start_timeout_seconds = 600\nstop_timeout_seconds = 300\nvcpu = 1";

/// The options of the smallest VM that boots.
pub(crate) const SMALL: &str = "--memory 384 --disk-size 512M";

/// The kind of daemons that a lab is for.
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

/// The lab for this purpose. A lab for the other purpose is ended first, because a small machine
/// has too little memory and time for two.
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
