//! The names of images: a record `image-names/<name>.json` for each.
//!
//! The bundle's own image has no record: it is the current bundle. The records are read once,
//! because only this process writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use banger_api::{Code, Error, ImageName};
use banger_host::{FileOp, Host, Op};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{During, Result};
use crate::layout::Layout;

/// The version of the record that this program writes and reads.
const SCHEMA: u32 = 1;

/// The image of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NamedImage {
    /// The digest of the root file system.
    pub root: String,
    /// The digest of the kernel that its VMs start with.
    pub kernel: String,
    /// Its origin, for a person.
    pub origin: String,
    /// The time of its creation.
    pub created: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Record {
    schema: u32,
    #[serde(flatten)]
    image: NamedImage,
}

/// All names, as read from the disk.
#[derive(Debug, Clone, Default)]
struct NameTable {
    images: BTreeMap<ImageName, NamedImage>,
    /// The names with unusable records, which may refer to any image.
    unreadable: BTreeSet<ImageName>,
}

/// The names of one state directory.
#[derive(Debug)]
pub(super) struct Names {
    layout: Layout,
    known: Mutex<Option<NameTable>>,
}

impl Names {
    pub(super) fn new(layout: Layout) -> Self {
        let known = Mutex::new(None);
        Self { layout, known }
    }

    /// All names with their images.
    pub(super) fn all(&self, host: &dyn Host) -> Result<BTreeMap<ImageName, NamedImage>> {
        self.with(host, |known| Ok(known.images.clone()))
    }

    /// The names with unusable records.
    pub(super) fn unreadable(&self, host: &dyn Host) -> Result<BTreeSet<ImageName>> {
        self.with(host, |known| Ok(known.unreadable.clone()))
    }

    /// The digests of all images with a name; `None` if a record is unusable and may refer to any
    /// image.
    pub(super) fn digests(&self, host: &dyn Host) -> Result<Option<BTreeSet<String>>> {
        self.with(host, |known| {
            let images = known.images.values();
            let digests = images.flat_map(|it| [it.root.clone(), it.kernel.clone()]);
            Ok(known.unreadable.is_empty().then(|| digests.collect()))
        })
    }

    /// The image of a name.
    pub(super) fn get(&self, name: &ImageName, host: &dyn Host) -> Result<NamedImage> {
        self.with(host, |known| {
            let found = known.images.get(name).cloned();
            found.ok_or_else(|| known.not_found(name))
        })
    }

    /// Rejects a name that is taken.
    pub(super) fn refuse_taken(&self, name: &ImageName, host: &dyn Host) -> Result<()> {
        self.with(host, |known| known.refuse_taken(name))
    }

    /// Gives an image a name, durably.
    pub(super) fn put(&self, name: &ImageName, image: NamedImage, host: &dyn Host) -> Result<()> {
        self.with(host, |known| {
            known.refuse_taken(name)?;
            let what = format!("name the image `{name}`");
            let record = Record {
                schema: SCHEMA,
                image,
            };
            let contents = serde_json::to_vec_pretty(&record)
                .map_err(|cause| Error::new(Code::Internal, cause.to_string()).within(&*what))?;
            host.change(&Op::File(FileOp::MakeDirectory {
                path: self.layout.image_names(),
                mode: 0o711,
                owner: None,
            }))
            .during(&*what)?;
            host.change(&Op::File(FileOp::WriteFile {
                path: self.path(name.as_str()),
                contents,
                mode: 0o600,
                owner: None,
            }))
            .during(what)?;
            known.images.insert(name.clone(), record.image);
            Ok(())
        })
    }

    /// Removes a name; the image itself stays.
    pub(super) fn remove(&self, name: &ImageName, host: &dyn Host) -> Result<()> {
        self.with(host, |known| {
            let path = self.path(name.as_str());
            host.change(&Op::File(FileOp::RemoveFile { path }))
                .during(format!("remove the name `{name}`"))?;
            known.images.remove(name);
            known.unreadable.remove(name);
            Ok(())
        })
    }

    /// Renames an image atomically.
    pub(super) fn rename(&self, old: &ImageName, new: &ImageName, host: &dyn Host) -> Result<()> {
        self.with(host, |known| {
            let image = known.images.get(old).cloned();
            let image = image.ok_or_else(|| known.not_found(old))?;
            known.refuse_taken(new)?;
            let (from, to) = (self.path(old.as_str()), self.path(new.as_str()));
            host.change(&Op::File(FileOp::RenameFile { from, to }))
                .during(format!("call the image `{new}`"))?;
            known.images.remove(old);
            known.images.insert(new.clone(), image);
            Ok(())
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.layout.image_names().join(format!("{name}.json"))
    }

    fn with<T>(
        &self,
        host: &dyn Host,
        work: impl FnOnce(&mut NameTable) -> Result<T>,
    ) -> Result<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &mut *known {
            return work(known);
        }
        work(known.insert(self.read(host)?))
    }

    fn read(&self, host: &dyn Host) -> Result<NameTable> {
        let mut known = NameTable::default();
        let files = host.list(&self.layout.image_names());
        for file in files.during("list the images' names")? {
            // Names of unfinished files begin with a dot.
            let Some(name) = file.strip_suffix(".json").filter(|it| !it.starts_with('.')) else {
                continue;
            };
            // A file without a valid name is not banger's.
            let Ok(name) = name.parse::<ImageName>() else {
                continue;
            };
            let bytes = host.read(&self.path(name.as_str()));
            let bytes = bytes.during("read an image's name")?.unwrap_or_default();
            match serde_json::from_slice::<Record>(&bytes) {
                Ok(record) if record.schema == SCHEMA => {
                    known.images.insert(name, record.image);
                }
                _ => {
                    tracing::warn!(%name, "no image is pruned while this image's record cannot be read");
                    known.unreadable.insert(name);
                }
            }
        }
        Ok(known)
    }
}

impl NameTable {
    fn not_found(&self, name: &ImageName) -> Error {
        if self.unreadable.contains(name) {
            return Error::new(
                Code::NotReady,
                format!("the record of the image `{name}` cannot be read"),
            )
            .hint(format!("remove the image: banger image delete {name}"));
        }
        Error::new(Code::NotFound, format!("there is no image `{name}`"))
            .hint("list all images: banger image list")
    }

    fn refuse_taken(&self, name: &ImageName) -> Result<()> {
        let is_taken =
            name.is_default() || self.images.contains_key(name) || self.unreadable.contains(name);
        if !is_taken {
            return Ok(());
        }
        let error = Error::new(
            Code::Conflict,
            format!("there is an image `{name}` already"),
        );
        Err(error.hint("choose another name; list all images: banger image list"))
    }
}
