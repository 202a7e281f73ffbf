//! Watches whether another program's resolvers are in use, and restores banger's after them.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, WatchFlags};

use crate::boot_record::RESOLV_CONF;
use crate::system::resolvers;

/// A watch on the target of `/etc/resolv.conf`. Without inotify watches left, the daemon's next
/// message restores the resolvers.
#[derive(Debug)]
pub(crate) struct Takeover {
    watch: Option<OwnedFd>,
}

fn watch(file: &Path) -> Option<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    let coming = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
    inotify::add_watch(&fd, file.parent()?, coming).ok()?;
    Some(fd)
}

impl Takeover {
    pub(crate) fn new() -> Self {
        let watch = watch(Path::new(RESOLV_CONF));
        Self { watch }
    }

    /// Becomes readable when the file may have changed.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(OwnedFd::as_fd)
    }

    /// Restores banger's resolvers if no other program's are left.
    pub(crate) fn look(&self) {
        if self.changed() {
            // A file that cannot be written is reported at the daemon's next request.
            let _ = resolvers::restore();
        }
    }

    fn changed(&self) -> bool {
        let Some(watch) = &self.watch else {
            return false;
        };
        let mut bytes = [MaybeUninit::uninit(); 2048];
        let mut reader = inotify::Reader::new(watch, &mut bytes);
        let mut changed = false;
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(std::ffi::CStr::to_bytes);
            changed |= name
                == Path::new(RESOLV_CONF)
                    .file_name()
                    .map(|it| it.as_encoded_bytes());
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_that_file_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        let takeover = Takeover {
            watch: watch(&file),
        };
        assert!(!takeover.changed());
        std::fs::write(folder.path().join("session"), "x").unwrap();
        assert!(!takeover.changed());
        std::fs::write(&file, "x").unwrap();
        assert!(takeover.changed());
        assert!(!takeover.changed());
        std::fs::remove_file(&file).unwrap();
        assert!(takeover.changed());
    }
}
