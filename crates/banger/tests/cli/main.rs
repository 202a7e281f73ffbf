//! The real client with the real daemon on a simulated host (`bangerd --sim`): every verb as a user
//! types it, without privileges and without VMs.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]
#![expect(clippy::print_stderr, reason = "a test that cannot run here says so")]
#![expect(clippy::unwrap_used, reason = "tests may")]

mod agreement;
mod archives;
mod build;
mod bundle;
mod completion;
mod config;
mod console;
mod copies;
mod copy;
mod daemon;
mod doctor;
mod environment;
mod events;
mod exec;
mod fake_daemon;
mod forward;
mod guesses;
mod held_daemon;
mod hosts;
mod images;
mod install;
mod jobs;
mod list;
mod logs;
mod metrics;
mod pipes;
#[path = "../pty/mod.rs"]
mod pty;
mod refusals;
mod remote;
mod screen;
mod several;
mod simulated;
mod ssh;
mod ssh_config;
#[path = "../sshd/mod.rs"]
mod sshd;
mod stand_in;
mod sync;
mod system;
mod terminal;
mod trust;
mod tui;
mod typist;
mod verbs;
mod verify;
mod volumes;
