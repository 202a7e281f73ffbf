//! Images: what a VM is created from, their names, and the bundle that they come from.

pub(crate) mod bundle;
pub(crate) mod catalog;
mod ext4;
mod folder;
pub(crate) mod foreign;
pub(crate) mod import;
mod judge;
mod lease;
mod names;
mod source;
