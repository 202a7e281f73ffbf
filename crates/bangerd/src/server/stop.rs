//! The one word that ends the daemon's edges: the server, its open streams, the resolver.

use tokio::sync::watch;

/// Said once, heard by all who wait for it, also by those who come later.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Not said yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Says it. Twice is once.
    pub fn say(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was said.
    #[must_use]
    pub fn said(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is said.
    pub async fn heard(&self) {
        // The sender lives in `self`, so this cannot fail before it is said.
        let _ = self.0.subscribe().wait_for(|said| *said).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
