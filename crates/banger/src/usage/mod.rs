//! What VMs use, as it changes: rates between two measurements, their history, how they are drawn in
//! text, and the threads that measure. The screen, `vm list --watch` and `vm stats` have it in common.

pub(crate) mod draw;
mod history;
mod rates;
pub(crate) mod sampler;
pub(crate) mod screen;

pub(crate) use history::{History, Moment};
pub(crate) use rates::Rates;

#[cfg(test)]
pub(crate) use history::tests::stats as stats_at;
