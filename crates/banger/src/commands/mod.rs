//! The verbs, one in each file: its options, its help, and its code.

pub(crate) mod bundle;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod dial_stdio;
pub(crate) mod doctor;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod integration;
pub(crate) mod metrics;
pub(crate) mod ssh_config;
pub(crate) mod system;
pub(crate) mod tui;
pub(crate) mod verify;
pub(crate) mod version;
pub(crate) mod vm;
pub(crate) mod volume;
