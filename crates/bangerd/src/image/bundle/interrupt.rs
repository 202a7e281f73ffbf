//! ^C while a bundle or an image is made. The terminal sends it to the started programs,
//! too, which end; this process stays and cleans up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use super::Result;
use super::error::{failure, failure_caused_by};

/// Whether ^C has been typed while this process watched for it.
static WAS_TYPED: AtomicBool = AtomicBool::new(false);

/// Whether ^C was the end of this process's work: its exit status tells.
pub(crate) fn was_interrupted() -> bool {
    WAS_TYPED.load(Ordering::SeqCst)
}

/// Remembers ^C.
#[derive(Debug, Clone, Default)]
pub(crate) struct InterruptSignal(Arc<AtomicBool>);

impl InterruptSignal {
    /// From now on ^C does not end this process but calls `then`. It still ends started programs.
    pub(crate) fn watch(then: impl FnOnce() + Send + 'static) -> Result<Self> {
        let map_io_error = |cause| failure_caused_by("watch for ^C", cause);
        let interrupt = Self::default();
        let typed = interrupt.clone();
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
                WAS_TYPED.store(true, Ordering::SeqCst);
                typed.0.store(true, Ordering::SeqCst);
                then();
            }
        });
        Ok(interrupt)
    }

    /// Simulates ^C.
    #[cfg(test)]
    pub(in crate::image) fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Fails after ^C.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(failure("interrupted"));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(in crate::image) mod tests {
    use super::*;
    use std::sync::{PoisonError, RwLock, RwLockReadGuard};

    use rustix::process::{Signal, getpid, kill_process};
    use std::time::{Duration, Instant};

    static UNINTERRUPTED: RwLock<()> = RwLock::new(());

    /// Keeps ^C away, which reaches every watch of the process, as long as this is held.
    pub(in crate::image) fn uninterrupted() -> RwLockReadGuard<'static, ()> {
        UNINTERRUPTED.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn an_interrupt_fails_the_check_and_does_not_end_the_process() {
        let _alone = UNINTERRUPTED
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let interrupt = InterruptSignal::watch(|| {}).unwrap();
        interrupt.check().unwrap();
        kill_process(getpid(), Signal::INT).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while interrupt.check().is_ok() {
            assert!(Instant::now() < deadline, "the signal is not seen");
            thread::yield_now();
        }
        assert_eq!(interrupt.check().unwrap_err().to_string(), "interrupted");
    }
}
