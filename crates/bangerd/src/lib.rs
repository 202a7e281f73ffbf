//! banger's daemon: the engine, its capabilities and drivers, the server and the resolver.
//!
//! `ARCHITECTURE.md` has the picture. `tests/imports.rs` checks the import rules.

pub mod assemble;
pub mod capability;
pub mod config;
pub mod daemon;
pub mod download;
pub mod engine;
pub mod error;
pub mod gate;
pub mod guest;
mod holds;
pub mod hypervisor;
pub mod image;
pub mod layout;
pub mod log;
pub mod machine;
pub mod naming;
pub mod plan;
pub mod readiness;
pub mod resolver;
pub mod server;
pub mod storage;
pub mod vm;
