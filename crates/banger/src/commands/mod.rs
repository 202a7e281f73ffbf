//! The verbs, one a file: its options, its help, and what it does.

pub(crate) mod bundle;
pub(crate) mod completion;
pub(crate) mod daemon;
pub(crate) mod doctor;
pub(crate) mod system;
pub(crate) mod vm;
