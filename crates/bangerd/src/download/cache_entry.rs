//! The files of one download: the complete file, the partial file that becomes it, and its origin.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::failure::{AttemptFailure, Recovery};
use super::web::RangeRequest;
use super::{CancelToken, Digest, Progress, ProgressSink};

/// How often the lock of another process's download is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// A complete file that is not used for this long is removed.
const UNUSED_LIFETIME: Duration = Duration::from_secs(60 * 24 * 3600);

/// A partial file that is not resumed for this long is removed.
const PARTIAL_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

type Result<T> = std::result::Result<T, AttemptFailure>;

/// One digest's files in the cache.
#[derive(Debug)]
pub(super) struct CacheEntry {
    folder: PathBuf,
    digest: Digest,
}

/// The source and version of a partial file's bytes, so that the same version is resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    source: String,
    version: Option<String>,
}

/// A partial file, locked against other processes.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    size: u64,
    origin: Option<Origin>,
    /// Whether its bytes come from several responses, and so perhaps from two versions.
    is_resumed: bool,
}

impl CacheEntry {
    /// The entry of this digest in `folder`, which is created if missing. Old files in `folder`
    /// are removed.
    pub(super) fn open(folder: &Path, digest: &Digest) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|cause| {
                AttemptFailure::local_io(format!("make `{}`", folder.display()), &cause)
            })?;
        let entry = Self {
            folder: folder.to_owned(),
            digest: digest.clone(),
        };
        entry.remove_old(SystemTime::now());
        Ok(entry)
    }

    /// The path of the complete file.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(self.digest.as_str())
    }

    fn part_path(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.digest))
    }

    /// Whether the complete file exists with its digest. A damaged one is removed.
    pub(super) fn is_valid(
        &self,
        cancel: &CancelToken,
        progress: ProgressSink<'_>,
    ) -> Result<bool> {
        let path = self.path();
        let describe = || format!("read `{}`", path.display());
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(cause) => return Err(AttemptFailure::local_io(describe(), &cause)),
        };
        if digest_of(&mut file, cancel, &describe)? == self.digest {
            // Its modification time is its last use. Failing to set it is harmless.
            let _ = file.set_modified(SystemTime::now());
            return Ok(true);
        }
        progress(Progress::Remark("the cached copy is damaged"));
        fs::remove_file(&path).map_err(|cause| {
            AttemptFailure::local_io(format!("remove `{}`", path.display()), &cause)
        })?;
        Ok(false)
    }

    /// Locks the partial file, and waits for other processes; `None` if one of them has completed
    /// the download meanwhile.
    pub(super) fn open_partial(
        &self,
        cancel: &CancelToken,
        progress: ProgressSink<'_>,
    ) -> Result<Option<Partial>> {
        let path = self.part_path();
        let map_io_error = |cause: io::Error| {
            AttemptFailure::local_io(format!("open `{}`", path.display()), &cause)
        };
        let mut has_waited = false;
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(map_io_error)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if !is_same_file(&file, &path) => {}
                // The previous holder of the lock has completed it.
                Ok(()) if self.path().exists() && self.is_valid(cancel, progress)? => {
                    let _ = fs::remove_file(&path);
                    return Ok(None);
                }
                Ok(()) => return Partial::open(file, path, self.path()).map(Some),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    if !has_waited {
                        progress(Progress::Remark(
                            "another process is downloading it; waiting",
                        ));
                    }
                    has_waited = true;
                    if cancel.wait(LOCK_INTERVAL) {
                        return Err(AttemptFailure::cancelled());
                    }
                }
                Err(cause) => return Err(map_io_error(cause.into())),
            }
        }
    }

    /// Removes files that are past their lifetime.
    fn remove_old(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for path in entries.flatten().map(|it| it.path()) {
            let lifetime = match path.extension() {
                None => UNUSED_LIFETIME,
                Some(_) => PARTIAL_LIFETIME,
            };
            let age = path.metadata().and_then(|it| it.modified()).ok();
            if age.and_then(|it| now.duration_since(it).ok()) > Some(lifetime) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Partial {
    fn open(file: File, path: PathBuf, target: PathBuf) -> Result<Self> {
        let mut partial = Self {
            file,
            path,
            target,
            size: 0,
            origin: None,
            is_resumed: false,
        };
        partial.size = partial
            .file
            .seek(io::SeekFrom::End(0))
            .map_err(|cause| partial.write_error(&cause))?;
        if let Ok(text) = fs::read(partial.origin_path()) {
            partial.origin = serde_json::from_slice(&text).ok();
        }
        Ok(partial)
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The range to request from this source.
    pub(super) fn range(&self, source: &str) -> RangeRequest {
        let origin = self.origin.as_ref().filter(|it| it.source == source);
        RangeRequest {
            from: self.size,
            version: origin.and_then(|it| it.version.clone()),
        }
    }

    /// Records the origin of the bytes that are appended next.
    pub(super) fn set_origin(&mut self, source: &str, version: Option<String>) -> Result<()> {
        self.is_resumed = self.size > 0;
        let origin = Origin {
            source: source.to_owned(),
            version,
        };
        if self.origin.as_ref() == Some(&origin) {
            return Ok(());
        }
        let text = serde_json::to_vec(&origin).unwrap_or_default();
        fs::write(self.origin_path(), text).map_err(|cause| self.write_error(&cause))?;
        self.origin = Some(origin);
        Ok(())
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.map_err(|cause| self.write_error(&cause))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Truncates the file to nothing.
    pub(super) fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|cause| self.write_error(&cause))?;
        (self.size, self.origin, self.is_resumed) = (0, None, false);
        Ok(())
    }

    /// Checks the digest; a file with another one is truncated.
    pub(super) fn check(&mut self, expected: &Digest, cancel: &CancelToken) -> Result<()> {
        let path = self.path.clone();
        let describe = || format!("read `{}`", path.display());
        let rewound = self.file.rewind();
        rewound.map_err(|cause| AttemptFailure::local_io(describe(), &cause))?;
        let found = digest_of(&mut self.file, cancel, &describe)?;
        if found == *expected {
            return Ok(());
        }
        let recovery = if self.is_resumed {
            Recovery::Restart
        } else {
            Recovery::NextSource
        };
        let size = self.size;
        self.restart()?;
        let error = banger_api::Error::new(
            banger_api::Code::Host,
            format!("the SHA-256 of the {size} bytes received differs: {found}"),
        )
        .cause(format!("expected {expected}"))
        .hint(
            "do not use it: the file at the source has changed, or the expected SHA-256 is wrong",
        );
        Err(AttemptFailure::new(recovery, error))
    }

    /// Renames it to the complete file.
    pub(super) fn commit(self) -> Result<()> {
        let renamed = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, &self.target));
        renamed.map_err(|cause| self.write_error(&cause))?;
        let _ = fs::remove_file(self.origin_path());
        if let Some(folder) = self.target.parent() {
            // The file is there; a rename that a power cut undoes costs one more download.
            let _ = File::open(folder).and_then(|it| it.sync_all());
        }
        Ok(())
    }

    fn origin_path(&self) -> PathBuf {
        self.path.with_extension("origin")
    }

    fn write_error(&self, cause: &io::Error) -> AttemptFailure {
        AttemptFailure::local_io(format!("write `{}`", self.path.display()), cause)
    }
}

/// Whether the path still names this open file.
fn is_same_file(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), path.metadata()) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

fn digest_of(
    file: &mut File,
    cancel: &CancelToken,
    describe: &dyn Fn() -> String,
) -> Result<Digest> {
    let read = Digest::of(file, |_| {
        if cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        Ok(())
    });
    read.map_err(|cause| {
        if cancel.is_cancelled() {
            return AttemptFailure::cancelled();
        }
        AttemptFailure::local_io(describe(), &cause)
    })
}
