//! The engine on a simulated host: every verb, recovery, concurrency, and the four laws.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adoption;
mod archive;
mod autostart;
mod builds;
mod clone;
mod concurrency;
mod configured;
mod disk_pressure;
mod disks;
mod events;
mod forwards;
mod gate;
mod images;
mod in_force;
mod input;
mod laws;
mod ledger;
mod lifeline;
mod machine_state;
mod nat;
mod network;
mod outside;
mod permissions;
mod recovery;
mod rename;
mod stop_all;
mod trash;
mod verbs;
mod volumes;
mod watch;
mod world;
