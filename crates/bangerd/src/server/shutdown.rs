//! The one signal that ends the daemon's network side: the server, its open streams, the resolver.

use tokio::sync::watch;

/// A signal that is given once and reaches every waiter, including later ones.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// A signal that is not given yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Gives the signal. Idempotent.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the signal is given.
    pub(crate) async fn begun(&self) {
        // The sender lives in `self`, so this cannot fail before.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}
