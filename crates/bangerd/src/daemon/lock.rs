//! The lock on the state directory, which only one daemon holds.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use banger_api::{Code, Error};
use tokio::time::interval;

use crate::error::Result;
use crate::layout::Layout;
use crate::server::Shutdown;

/// The interval at which the daemon checks that its state directory is still there.
const LOOK: Duration = Duration::from_secs(1);

/// The lock on a state directory; dropping it releases it.
#[derive(Debug)]
pub(super) struct StateLock {
    file: File,
    path: PathBuf,
}

impl StateLock {
    /// Locks the state directory; `None` if another daemon holds the lock.
    pub(super) fn take(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.lock();
        let map_io_error = |cause: std::io::Error| {
            Error::new(Code::Host, format!("lock `{}`", path.display()))
                .cause(cause.to_string())
                .hint("the state directory must be writable; for another one: banger --state DIR …")
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(map_io_error)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file, path })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(cause) => Err(map_io_error(cause.into())),
        }
    }

    /// Whether the locked file still has its path. Without it, another daemon can lock the same
    /// path and make the same names on the host. An unknown answer counts as yes.
    fn is_in_place(&self) -> bool {
        let identity = |meta: Metadata| (meta.dev(), meta.ino());
        match self.path.metadata() {
            Ok(meta) => self
                .file
                .metadata()
                .map_or(true, |own| identity(own) == identity(meta)),
            Err(cause) => !matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        }
    }
}

/// Ends the daemon when its state directory was removed or replaced. VMs keep running.
pub(super) async fn end_without_state(lock: Arc<StateLock>, shutdown: Shutdown) {
    let mut look = interval(LOOK);
    while lock.is_in_place() {
        tokio::select! {
            () = shutdown.begun() => return,
            _ = look.tick() => {}
        }
    }
    tracing::error!(path = %lock.path.display(), "the state directory was removed or replaced");
    shutdown.begin();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_whose_path_leads_elsewhere_is_not_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let layout = Layout::new(&state);
        let lock = StateLock::take(&layout).unwrap().unwrap();
        assert!(lock.is_in_place());
        assert!(StateLock::take(&layout).unwrap().is_none(), "it is held");

        std::fs::rename(&state, folder.path().join("moved")).unwrap();
        assert!(!lock.is_in_place(), "it is missing");

        std::fs::create_dir(&state).unwrap();
        let second = StateLock::take(&layout).unwrap().unwrap();
        assert!(!lock.is_in_place(), "it is another daemon's");
        assert!(second.is_in_place());
    }

    #[tokio::test]
    async fn a_daemon_whose_state_directory_is_gone_ends() {
        let state = tempfile::tempdir().unwrap();
        let lock = StateLock::take(&Layout::new(state.path()))
            .unwrap()
            .unwrap();
        let shutdown = Shutdown::new();
        state.close().unwrap();
        end_without_state(Arc::new(lock), shutdown.clone()).await;
        shutdown.begun().await;
    }
}
