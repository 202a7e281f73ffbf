//! The images that VMs are created from, their names, and the bundle as their source.

mod adopt;
pub(crate) mod bundle;
pub(crate) mod catalog;
mod ext4;
mod folder;
pub(crate) mod foreign;
pub(crate) mod import;
pub(crate) mod init;
mod judge;
pub(crate) mod lease;
mod names;
mod oci;
pub(crate) mod recipe;
pub(crate) mod registry;
mod source;

/// The script of a build's first step.
pub(crate) const PREPARE: &str = include_str!("prepare.sh");

/// The script of a build's last step.
pub(crate) const TIDY: &str = include_str!("tidy.sh");
