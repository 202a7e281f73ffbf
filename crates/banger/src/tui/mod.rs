//! The screen that people leave open: all VMs at a glance, every verb a key away.
//!
//! ```text
//!   keyboard ─┐                      ┌─► view (pure)  ─► terminal
//!   events ───┼─► inbox ─► model ────┤
//!   answers ──┘          (pure)      └─► effects ─► jobs, questions, programs
//! ```
//!
//! `model` is everything that is shown, and one pure function that takes a message in; `view` draws it;
//! `run` has the threads and the terminal. Nothing that waits is on the thread that draws.

mod files;
mod model;
mod run;
mod view;

pub(crate) use model::Look;
pub(crate) use run::run;

use crate::output::Output;

/// The output of what works behind the screen: it prints nothing.
const SILENT: Output = Output {
    json: true,
    quiet: true,
    terminal: false,
    colour: false,
};
