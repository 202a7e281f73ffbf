//! ^C while a bundle is made or fetched: the programs that we started get it from the terminal too, and end;
//! we stay, to clean up after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use super::{BundleError, Result};

/// Whether somebody has typed ^C.
#[derive(Debug, Clone, Default)]
pub(super) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// From now on ^C does not end this program, but does this. It still ends those that it
    /// starts.
    pub(super) fn watch(then: impl FnOnce() + Send + 'static) -> Result<Self> {
        let map_io_error = |cause| BundleError::because("watch for ^C", cause);
        let interruption = Self::default();
        let typed = interruption.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(map_io_error)?;
        let mut signals = {
            let _within = runtime.enter();
            signal(SignalKind::interrupt()).map_err(map_io_error)?
        };
        thread::spawn(move || {
            if runtime.block_on(signals.recv()).is_some() {
                typed.0.store(true, Ordering::SeqCst);
                then();
            }
        });
        Ok(interruption)
    }

    /// As if somebody had typed it.
    #[cfg(test)]
    pub(super) fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Refuses to go on after ^C.
    pub(super) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(BundleError::new("interrupted"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::time::{Duration, Instant};

    #[test]
    fn after_an_interrupt_nothing_is_gone_on_with_but_the_program_lives() {
        let interruption = Interruption::watch(|| {}).unwrap();
        interruption.check().unwrap();
        kill_process(getpid(), Signal::INT).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while interruption.check().is_ok() {
            assert!(Instant::now() < deadline, "the signal is not seen");
            thread::yield_now();
        }
        assert_eq!(interruption.check().unwrap_err().to_string(), "interrupted");
    }
}
