//! A tree in memory of the files of stacked tar layers. Nothing is written.
//!
//! Every path is within the tree: `..` is rejected, and links within a path are resolved here,
//! relative to the tree's root. So no path of the tree leads outside. Whiteouts are those of the
//! OCI image specification:
//! <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use super::entry::{attributes, damaged, hostile, parts, plain, target};
use super::plain::head;
use super::work::Work;
use crate::error::{During, Result};
use crate::image::judge;

/// The maximum number of files of an image.
const MOST_FILES: usize = 2_000_000;

/// The maximum number of links in a path, as in Linux.
const MOST_LINKS: usize = 40;

/// The prefix that hides a file of lower layers; the name follows.
const WHITEOUT: &[u8] = b".wh.";

/// The name that hides all entries of lower layers in a directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The prefix of what an old storage driver of docker keeps for itself.
const DRIVERS_OWN: &[u8] = b".wh..wh.";

/// The type of GNU tar for the name of an archive.
const LABEL: u8 = b'V';

/// The position of a file's content: the layer, and the index of its entry.
pub(super) type Place = (usize, usize);

/// The type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    /// Its content begins at this offset of its layer.
    File {
        place: Place,
        offset: u64,
        size: u64,
    },
    Link(PathBuf),
    Pipe,
}

/// One path of the tree.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: u64,
    /// Extended attributes, with their names in pax.
    pub(super) attributes: Vec<(String, Vec<u8>)>,
    layer: usize,
}

impl Node {
    fn directory(layer: usize) -> Self {
        Self {
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            attributes: Vec::new(),
            layer,
        }
    }
}

/// The whole tree. Each directory precedes its entries.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<PathBuf, Node>,
    /// The layers' archives, the lowest first.
    pub(super) layers: Vec<File>,
    /// The total length of all files, in bytes.
    pub(super) size: u64,
    largest: u64,
}

impl Tree {
    /// A tree with only a root, whose files may have `largest` bytes in total.
    pub(super) fn new(largest: u64) -> Self {
        Self {
            nodes: BTreeMap::from([(PathBuf::new(), Node::directory(0))]),
            layers: Vec::new(),
            size: 0,
            largest,
        }
    }

    /// Adds a layer on top. With `whiteouts`, its whiteouts hide files of lower layers.
    ///
    /// # Errors
    /// For a path or a type of file that is rejected, and for too many files.
    pub(super) fn add(&mut self, archive: File, whiteouts: bool, work: &Work<'_>) -> Result<()> {
        let layer = self.layers.len();
        let reader = archive.try_clone().map_err(|cause| damaged(&cause))?;
        let mut meter = work.meter(archive.metadata().map_or(0, |it| it.len()));
        self.layers.push(archive);
        let mut archive = Archive::new(PositionedFile {
            file: reader,
            at: 0,
        });
        let entries = archive.entries().map_err(|cause| damaged(&cause))?;
        for (number, entry) in entries.enumerate() {
            work.check()?;
            let mut entry = entry.map_err(|cause| damaged(&cause))?;
            meter.tell(entry.raw_file_position());
            let shown = String::from_utf8_lossy(&entry.path_bytes())
                .escape_debug()
                .to_string();
            self.take(&mut entry, (layer, number), whiteouts)
                .during(format!("read `{shown}`"))?;
            if self.nodes.len() > MOST_FILES {
                return Err(hostile(format!("it has more than {MOST_FILES} files")));
            }
        }
        Ok(())
    }

    /// Whether an entry of a layer only hides others, which is done then.
    fn is_whiteout(&mut self, folder: &Path, name: &OsStr, layer: usize) -> Result<bool> {
        let name = name.as_bytes();
        if name == OPAQUE {
            self.hide(folder, false, layer);
            return Ok(true);
        }
        let is_own = |part: &OsStr| part.as_bytes().starts_with(DRIVERS_OWN);
        if name.starts_with(DRIVERS_OWN) || folder.iter().any(is_own) {
            return Ok(true);
        }
        let Some(hidden) = name.strip_prefix(WHITEOUT) else {
            return Ok(false);
        };
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(hostile("it hides a file without a name".to_owned()));
        }
        self.hide(&folder.join(OsStr::from_bytes(hidden)), true, layer);
        Ok(true)
    }

    fn take<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        place: Place,
        whiteouts: bool,
    ) -> Result<()> {
        let path = plain(&entry.path_bytes())?;
        let kind = entry.header().entry_type();
        let attributes = attributes(entry)?;
        let Some((folder, name)) = path.parent().zip(path.file_name()) else {
            // The root itself.
            let node = self.node(entry, Kind::Directory, attributes, place.0)?;
            if kind.is_dir() {
                self.nodes.insert(PathBuf::new(), node);
            }
            return Ok(());
        };
        let folder = self.folder(folder, place.0)?;
        if whiteouts && self.is_whiteout(&folder, name, place.0)? {
            return Ok(());
        }
        let path = folder.join(name);
        // The oldest format tells a directory by its name alone.
        let is_directory = kind == EntryType::Regular && entry.path_bytes().ends_with(b"/");
        let kind = match kind {
            _ if is_directory => Kind::Directory,
            EntryType::Directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.size = self.size.saturating_add(entry.size());
                if self.size > self.largest {
                    let largest = self.largest >> 30;
                    return Err(hostile(format!("its files are larger than {largest} GiB")));
                }
                let offset = entry.raw_file_position();
                let size = entry.size();
                Kind::File {
                    place,
                    offset,
                    size,
                }
            }
            EntryType::Symlink => Kind::Link(target(entry)?),
            EntryType::Fifo => Kind::Pipe,
            EntryType::Link => return self.link(&path, &target(entry)?, place.0),
            // The guest's kernel creates its own devices.
            EntryType::Char | EntryType::Block if path.starts_with("dev") => return Ok(()),
            EntryType::Char | EntryType::Block => {
                return Err(hostile("it is a device, outside of `/dev`".to_owned()));
            }
            EntryType::XGlobalHeader => return Ok(()),
            other if other.as_byte() == LABEL => return Ok(()),
            other => return Err(hostile(format!("it is of an unknown kind, {other:?}"))),
        };
        let node = self.node(entry, kind, attributes, place.0)?;
        self.put(path, node);
        Ok(())
    }

    fn node<R: Read>(
        &self,
        entry: &Entry<'_, R>,
        kind: Kind,
        attributes: Vec<(String, Vec<u8>)>,
        layer: usize,
    ) -> Result<Node> {
        let header = entry.header();
        let number = |read: std::io::Result<u64>| read.map_err(|cause| damaged(&cause));
        Ok(Node {
            kind,
            mode: header.mode().map_err(|cause| damaged(&cause))? & 0o7777,
            uid: number(header.uid())?,
            gid: number(header.gid())?,
            mtime: header.mtime().unwrap_or(0),
            attributes,
            layer,
        })
    }

    /// Adds a hard link.
    fn link(&mut self, path: &Path, target: &Path, layer: usize) -> Result<()> {
        let target = plain(target.as_os_str().as_bytes())?;
        let found = match target.parent().zip(target.file_name()) {
            Some((folder, name)) => {
                let folder = self.folder(folder, layer)?;
                self.nodes.get(&folder.join(name)).cloned()
            }
            None => None,
        };
        let node = found.filter(|node| node.kind != Kind::Directory);
        let node = node.ok_or_else(|| {
            hostile(format!(
                "it is a hard link to `{}`, which is not a file",
                target.display()
            ))
        })?;
        self.put(path.to_owned(), Node { layer, ..node });
        Ok(())
    }

    /// Adds an entry at a path, which replaces an existing one unless both are directories.
    fn put(&mut self, path: PathBuf, node: Node) {
        let was_directory = self
            .nodes
            .get(&path)
            .is_some_and(|it| it.kind == Kind::Directory);
        if was_directory && node.kind != Kind::Directory {
            self.hide(&path, true, usize::MAX);
        }
        self.nodes.insert(path, node);
    }

    /// Removes the entries of lower layers below a path; with `itself`, also the path. Directories of
    /// what stays are new ones.
    fn hide(&mut self, path: &Path, itself: bool, layer: usize) {
        let below = self.nodes.range(path.to_owned()..);
        let below = below.take_while(|(it, _)| it.starts_with(path));
        let is_hidden =
            |(it, node): &(&PathBuf, &Node)| node.layer < layer && (itself || **it != path);
        let (hidden, kept): (Vec<_>, Vec<_>) = below.partition(is_hidden);
        let hidden: BTreeSet<PathBuf> = hidden.into_iter().map(|(it, _)| it.clone()).collect();
        let above = |it: &PathBuf| {
            it.ancestors()
                .skip(1)
                .map(Path::to_owned)
                .collect::<Vec<_>>()
        };
        let needed: BTreeSet<PathBuf> = kept.iter().flat_map(|(it, _)| above(it)).collect();
        for path in hidden {
            if needed.contains(&path) {
                self.nodes.insert(path, Node::directory(layer));
            } else {
                self.nodes.remove(&path);
            }
        }
    }

    /// The directory at this path, created if necessary; links on the way are followed.
    fn folder(&mut self, path: &Path, layer: usize) -> Result<PathBuf> {
        let folder = self.resolve(path)?;
        let mut above = PathBuf::new();
        for part in folder.components() {
            above.push(part);
            let is_directory = self
                .nodes
                .get(&above)
                .is_some_and(|it| it.kind == Kind::Directory);
            if !is_directory {
                self.nodes.insert(above.clone(), Node::directory(layer));
            }
        }
        Ok(folder)
    }

    /// The largest id of an owner, and the path that has it.
    pub(super) fn largest_owner(&self) -> Option<(u64, &Path)> {
        let owners = self.nodes.iter();
        let owners = owners.map(|(path, it)| (it.uid.max(it.gid), path.as_path()));
        owners.max_by_key(|(id, _)| *id)
    }

    /// Resolves a path within the tree. Missing components count as directories.
    pub(super) fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let mut left: Vec<Vec<u8>> = parts(path);
        left.reverse();
        let (mut found, mut links) = (PathBuf::new(), 0);
        while let Some(part) = left.pop() {
            if part == b".." {
                if !found.pop() {
                    return Err(hostile(format!(
                        "a link on the way to `{}` leads out of it",
                        path.display()
                    )));
                }
                continue;
            }
            found.push(OsStr::from_bytes(&part));
            let Some(Kind::Link(target)) = self.nodes.get(&found).map(|it| &it.kind) else {
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(hostile(format!(
                    "`{}` leads through too many links",
                    path.display()
                )));
            }
            found.pop();
            if target.is_absolute() {
                found = PathBuf::new();
            }
            left.extend(parts(target).into_iter().rev());
        }
        Ok(found)
    }
}

impl judge::Tree for Tree {
    fn head(&self, path: &str) -> Result<Option<Vec<u8>>> {
        // A link that leads out of the tree is also broken in the guest.
        let Ok(path) = self.resolve(Path::new(path)) else {
            return Ok(None);
        };
        match self.nodes.get(&path).map(|it| &it.kind) {
            Some(Kind::File {
                place,
                offset,
                size,
            }) => {
                let head = head::<{ judge::HEAD }>(&self.layers[place.0], *offset);
                let mut head = head.map_err(|cause| damaged(&cause))?;
                head.truncate(usize::try_from(*size).unwrap_or(usize::MAX));
                Ok(Some(head))
            }
            _ => Ok(None),
        }
    }
}

/// A file with a read position of its own.
pub(super) struct PositionedFile {
    pub(super) file: File,
    pub(super) at: u64,
}

impl Read for PositionedFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(&self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
