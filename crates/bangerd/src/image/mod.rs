//! Images: what a VM is created from, their names, and the bundle that they come from.

pub mod bundle;
pub mod catalog;
mod ext4;
mod folder;
pub mod foreign;
pub mod import;
mod judge;
mod lease;
mod names;
mod source;
