//! Container images from a registry (the OCI distribution specification, version 2).
//!
//! ```text
//! docker://NAME:TAG ─► registry ─► manifest for this machine ─► configuration, layers
//!                                   │ its digest is checked       │ by digest, in the cache
//!                                   └──────────► foreign::make ◄──┘
//! ```
//!
//! This runs in the user's environment, with the user's proxies, certificates and logins. Nothing
//! that a registry says is believed without a digest, except which manifest a tag names.

mod challenge;
mod complaint;
mod logins;
mod pull;
mod reference;
mod server;
mod token;

#[cfg(test)]
mod tests;

pub(crate) use logins::Logins;
pub(crate) use pull::{Source, pull};
pub(crate) use reference::{ImageReference, without_user};
