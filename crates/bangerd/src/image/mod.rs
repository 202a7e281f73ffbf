//! The images that VMs are created from, their names, and the bundle as their source.

mod adopt;
pub(crate) mod bundle;
pub(crate) mod catalog;
mod ext4;
mod folder;
pub(crate) mod foreign;
pub(crate) mod import;
mod judge;
pub(crate) mod lease;
mod names;
mod source;
