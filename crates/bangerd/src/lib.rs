//! banger's daemon: the engine, its capabilities and drivers, the server and the resolver.
//!
//! `ARCHITECTURE.md` has the picture. `tests/imports.rs` checks the import rules.

pub mod assemble;
pub mod capability;
pub mod config;
pub mod daemon;
mod download;
pub mod engine;
pub mod error;
pub mod gate;
mod guest;
mod holds;
pub mod hypervisor;
mod image;
pub mod layout;
mod log;
pub mod machine;
mod manifest;
mod naming;
mod plan;
mod readiness;
mod resolver;
mod server;
mod storage;
pub mod vm;
mod volumes;
mod waiter;
