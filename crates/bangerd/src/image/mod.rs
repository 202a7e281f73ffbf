//! Where guests come from: the bundle that is built, and the images imported from it.

pub mod bundle;
pub mod catalog;
mod lease;
