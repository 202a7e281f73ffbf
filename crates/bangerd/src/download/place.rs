//! The files of one download: the whole, the part that grows into it, and where that came from.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::trouble::{Next, Trouble};
use super::web::Wanted;
use super::{Cancel, Digest, Heard, Progress};

/// How often a download of another process is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long a whole file stays that nobody asks for.
const LIFE: Duration = Duration::from_secs(60 * 24 * 3600);

/// How long a part stays that nobody goes on with.
const LIFE_OF_A_PART: Duration = Duration::from_secs(7 * 24 * 3600);

type Result<T> = std::result::Result<T, Trouble>;

/// Where a download lies.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    digest: Digest,
}

/// Where the bytes of a part came from, so that they go on from the same version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    source: String,
    version: Option<String>,
}

/// What has come so far. Nobody else writes to it.
#[derive(Debug)]
pub(super) struct Part {
    /// Locked.
    file: File,
    path: PathBuf,
    whole: PathBuf,
    size: u64,
    origin: Option<Origin>,
    /// Whether it may be of two versions.
    is_pieced: bool,
}

impl Place {
    /// The place of this digest in `folder`, which is made where it is not there. What is old in
    /// it goes.
    pub(super) fn open(folder: &Path, digest: &Digest) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|cause| Trouble::of_ours(format!("make `{}`", folder.display()), &cause))?;
        let place = Self {
            folder: folder.to_owned(),
            digest: digest.clone(),
        };
        place.remove_old(SystemTime::now());
        Ok(place)
    }

    /// The path of the whole.
    pub(super) fn whole(&self) -> PathBuf {
        self.folder.join(self.digest.as_str())
    }

    fn part_path(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.digest))
    }

    /// Whether the whole is there, and still has its digest. One that has not is removed.
    pub(super) fn holds(&self, cancel: &Cancel, heard: Heard<'_>) -> Result<bool> {
        let path = self.whole();
        let doing = || format!("read `{}`", path.display());
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(cause) => return Err(Trouble::of_ours(doing(), &cause)),
        };
        if digest_of(&mut file, cancel, &doing)? == self.digest {
            // It is as old as its last use. That this is not noted is no reason to fail.
            let _ = file.set_modified(SystemTime::now());
            return Ok(true);
        }
        heard(Progress::Remark("the copy that is there is damaged"));
        fs::remove_file(&path)
            .map_err(|cause| Trouble::of_ours(format!("remove `{}`", path.display()), &cause))?;
        Ok(false)
    }

    /// The part, once nobody else works on it; none where the whole has come meanwhile.
    pub(super) fn part(&self, cancel: &Cancel, heard: Heard<'_>) -> Result<Option<Part>> {
        let path = self.part_path();
        let trouble =
            |cause: io::Error| Trouble::of_ours(format!("open `{}`", path.display()), &cause);
        let mut has_waited = false;
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(trouble)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if !is_at(&file, &path) => {}
                // Who had the lock has put it in place.
                Ok(()) if self.whole().exists() && self.holds(cancel, heard)? => {
                    let _ = fs::remove_file(&path);
                    return Ok(None);
                }
                Ok(()) => return Part::of(file, path, self.whole()).map(Some),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    if !has_waited {
                        heard(Progress::Remark("somebody else is downloading it; waiting"));
                    }
                    has_waited = true;
                    if cancel.wait(LOOK) {
                        return Err(Trouble::cancelled());
                    }
                }
                Err(cause) => return Err(trouble(cause.into())),
            }
        }
    }

    /// Removes what nobody has used for long.
    fn remove_old(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for path in entries.flatten().map(|it| it.path()) {
            let life = match path.extension() {
                None => LIFE,
                Some(_) => LIFE_OF_A_PART,
            };
            let age = path.metadata().and_then(|it| it.modified()).ok();
            if age.and_then(|it| now.duration_since(it).ok()) > Some(life) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Part {
    fn of(file: File, path: PathBuf, whole: PathBuf) -> Result<Self> {
        let mut part = Self {
            file,
            path,
            whole,
            size: 0,
            origin: None,
            is_pieced: false,
        };
        part.size = part
            .file
            .seek(io::SeekFrom::End(0))
            .map_err(|cause| part.unwritten(&cause))?;
        if let Ok(text) = fs::read(part.origin_path()) {
            part.origin = serde_json::from_slice(&text).ok();
        }
        Ok(part)
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What has to be asked for.
    pub(super) fn wanted(&self, source: &str) -> Wanted {
        let origin = self.origin.as_ref().filter(|it| it.source == source);
        Wanted {
            from: self.size,
            version: origin.and_then(|it| it.version.clone()),
        }
    }

    /// What follows comes from there.
    pub(super) fn comes_from(&mut self, source: &str, version: Option<String>) -> Result<()> {
        self.is_pieced = self.size > 0;
        let origin = Origin {
            source: source.to_owned(),
            version,
        };
        if self.origin.as_ref() == Some(&origin) {
            return Ok(());
        }
        let text = serde_json::to_vec(&origin).unwrap_or_default();
        fs::write(self.origin_path(), text).map_err(|cause| self.unwritten(&cause))?;
        self.origin = Some(origin);
        Ok(())
    }

    /// Adds these bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.map_err(|cause| self.unwritten(&cause))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all that has come.
    pub(super) fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|cause| self.unwritten(&cause))?;
        (self.size, self.origin, self.is_pieced) = (0, None, false);
        Ok(())
    }

    /// Refuses what is not what was wanted, and forgets it.
    pub(super) fn check(&mut self, wanted: &Digest, cancel: &Cancel) -> Result<()> {
        let path = self.path.clone();
        let doing = || format!("read `{}`", path.display());
        let rewound = self.file.rewind();
        rewound.map_err(|cause| Trouble::of_ours(doing(), &cause))?;
        let found = digest_of(&mut self.file, cancel, &doing)?;
        if found == *wanted {
            return Ok(());
        }
        let next = if self.is_pieced {
            Next::Anew
        } else {
            Next::Elsewhere
        };
        let size = self.size;
        self.restart()?;
        let error = banger_api::Error::new(
            banger_api::Code::Host,
            format!("what came has another SHA-256 than it should: {found}, of {size} bytes"),
        )
        .cause(format!("{wanted} is wanted"))
        .hint("do not use it: the file there was changed, or the SHA-256 is that of another one");
        Err(Trouble::new(next, error))
    }

    /// Makes it the whole.
    pub(super) fn put_in_place(self) -> Result<()> {
        let placed = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, &self.whole));
        placed.map_err(|cause| self.unwritten(&cause))?;
        let _ = fs::remove_file(self.origin_path());
        if let Some(folder) = self.whole.parent() {
            // It is there; that this is not yet on the disk is no reason to fail.
            let _ = File::open(folder).and_then(|it| it.sync_all());
        }
        Ok(())
    }

    fn origin_path(&self) -> PathBuf {
        self.path.with_extension("origin")
    }

    fn unwritten(&self, cause: &io::Error) -> Trouble {
        Trouble::of_ours(format!("write `{}`", self.path.display()), cause)
    }
}

/// Whether this open file is what the path leads to.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), path.metadata()) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

fn digest_of(file: &mut File, cancel: &Cancel, doing: &dyn Fn() -> String) -> Result<Digest> {
    let read = Digest::of(file, |_| {
        if cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        Ok(())
    });
    read.map_err(|cause| {
        if cancel.is_cancelled() {
            return Trouble::cancelled();
        }
        Trouble::of_ours(doing(), &cause)
    })
}
