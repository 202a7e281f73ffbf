//! Reads the layers of a container image: an OCI layout, as a directory or an archive, or the
//! output of `docker save`.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>. The digest of every
//! manifest, configuration and unpacked layer is verified; the configuration determines the order
//! of the layers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use super::LARGEST;
use super::plain::{self, Window};
use super::tree::PositionedFile;
use super::work::Work;
use crate::download::{Digest, hexadecimal};
use crate::error::{During, Result};
use crate::image::oci::{Blob, DEEPEST, LARGEST_DOCUMENT, MOST_LAYERS, Manifest};

/// Where a layout has its content, by digest.
const BLOBS: &str = "blobs/sha256/";

/// The location of the parts of a container image.
#[derive(Debug)]
pub(super) enum Parts {
    /// Files in a directory.
    Directory(PathBuf),
    /// Files in an archive, each with its offset and length.
    Archive(File, BTreeMap<String, (u64, u64)>),
    /// Files of a registry.
    Fetched(FetchedImage),
}

/// A container image from a registry.
#[derive(Debug, Clone)]
pub(crate) struct FetchedImage {
    /// Its manifest, whose digest is right.
    pub manifest: Vec<u8>,
    /// The digest of the manifest, in hexadecimal.
    pub digest: String,
    /// The configuration and the layers, by their digests in hexadecimal.
    pub blobs: BTreeMap<String, PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::Invalid, what)
}

impl FetchedImage {
    /// The file at this path of a layout.
    fn path(&self, name: &str) -> Option<&Path> {
        let digest = name.strip_prefix(BLOBS)?;
        self.blobs.get(digest).map(PathBuf::as_path)
    }
}

impl Parts {
    /// The parts in this directory, if it is an OCI layout.
    pub(super) fn of_directory(path: &Path) -> Option<Self> {
        let is_layout = path.join("oci-layout").is_file() && path.join("index.json").is_file();
        is_layout.then(|| Self::Directory(path.to_owned()))
    }

    /// The parts in this archive, if it is a container image and not a root file system.
    pub(super) fn of_archive(archive: &File, work: &Work<'_>) -> Result<Option<Self>> {
        let damaged = |cause: std::io::Error| {
            invalid("its tar archive cannot be read").cause(cause.to_string())
        };
        let file = archive.try_clone().map_err(damaged)?;
        let mut entries = Archive::new(PositionedFile { file, at: 0 });
        let (mut parts, mut links) = (BTreeMap::new(), Vec::new());
        for entry in entries.entries().map_err(damaged)? {
            work.check()?;
            let entry = entry.map_err(damaged)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path
                .trim_start_matches("./")
                .trim_end_matches('/')
                .to_owned();
            match entry.header().entry_type() {
                EntryType::Regular => {
                    parts.insert(path, (entry.raw_file_position(), entry.size()));
                }
                EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    links.push((path, String::from_utf8_lossy(&target).into_owned()));
                }
                _ => {}
            }
            // A root file system begins with other files, so it need not be read completely.
            if parts.len() > 100_000 {
                return Ok(None);
            }
        }
        // Older versions of `docker save` write each layer once, with links to it.
        for (path, target) in links {
            let target = target.trim_start_matches("../");
            if let Some(part) = parts.get(target).copied() {
                parts.insert(path, part);
            }
        }
        let is_image = parts.contains_key("manifest.json")
            || parts.contains_key("oci-layout") && parts.contains_key("index.json");
        let archive = archive.try_clone().map_err(damaged)?;
        Ok(is_image.then_some(Self::Archive(archive, parts)))
    }

    /// Decompresses the layers into the working folder, the lowest first.
    ///
    /// # Errors
    /// If a part is missing or damaged, or no manifest fits this machine.
    pub(super) fn layers(&self, work: &Work<'_>) -> Result<Vec<File>> {
        let (names, digests) = self.names()?;
        if names.len() != digests.len() || names.len() > MOST_LAYERS {
            let (layers, digests) = (names.len(), digests.len());
            return Err(invalid(format!(
                "it has {layers} layers and {digests} digests of them"
            )));
        }
        let (mut unpacked, mut left) = (Vec::new(), LARGEST);
        for (number, (name, digest)) in names.iter().zip(&digests).enumerate() {
            let doing = || format!("unpack the layer `{name}`");
            let to = work.folder.join(format!("layer.{number}"));
            let part = self.open(name).during(doing())?;
            let found = plain::write(part, &to, left, work).during(doing())?;
            if digest.strip_prefix("sha256:") != Some(&found) {
                return Err(invalid("its digest differs from that in the image").within(doing()));
            }
            let file = File::open(&to).map_err(|cause| plain::unreadable(&to, &cause))?;
            left -= file.metadata().map_or(0, |it| it.len().min(left));
            unpacked.push(file);
        }
        Ok(unpacked)
    }

    /// The names of the layers, and the digests of their uncompressed content.
    fn names(&self) -> Result<(Vec<String>, Vec<String>)> {
        if let Some((configuration, layers)) = self.manifest()? {
            let configuration = self.named(&configuration.digest)?;
            let configuration: Configuration = parse("the configuration", &configuration)?;
            let layers = layers.iter().map(|it| blob(&it.digest));
            return Ok((layers.collect(), configuration.rootfs.diff_ids));
        }
        let mut saved: Vec<SavedImage> = self.read("manifest.json")?;
        let (Some(only), true) = (saved.pop(), saved.is_empty()) else {
            return Err(invalid("the archive holds several images, or none")
                .hint("save the one that you want: docker save IMAGE -o image.tar"));
        };
        let configuration: Configuration = self.read(&only.config)?;
        Ok((only.layers, configuration.rootfs.diff_ids))
    }

    /// The configuration and the layers of the image for this machine, unless it is the output of
    /// `docker save`.
    fn manifest(&self) -> Result<Option<(Blob, Vec<Blob>)>> {
        let mut text = match self {
            Self::Fetched(image) => image.manifest.clone(),
            _ if self.has("index.json") && self.has("oci-layout") => self.text("index.json")?,
            _ => return Ok(None),
        };
        for _ in 0..=DEEPEST {
            match Manifest::parse(&text)? {
                Manifest::Image {
                    configuration,
                    layers,
                } => return Ok(Some((configuration, layers))),
                Manifest::Elsewhere(digest) => text = self.named(&digest)?,
            }
        }
        Err(invalid("its indexes are nested too deep"))
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(folder) => folder.join(name).is_file(),
            Self::Archive(_, parts) => parts.contains_key(name),
            Self::Fetched(image) => image.path(name).is_some(),
        }
    }

    fn open(&self, name: &str) -> Result<Window> {
        let missing = || invalid(format!("it lacks `{}`", name.escape_debug()));
        match self {
            Self::Directory(folder) => Window::whole(&folder.join(name)),
            Self::Fetched(image) => Window::whole(image.path(name).ok_or_else(missing)?),
            Self::Archive(file, parts) => {
                let (offset, length) = parts.get(name).ok_or_else(missing)?;
                Window::part(file, *offset, *length)
                    .map_err(|cause| missing().cause(cause.to_string()))
            }
        }
    }

    fn text(&self, name: &str) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let read = self
            .open(name)?
            .take(LARGEST_DOCUMENT)
            .read_to_end(&mut text);
        read.map_err(|cause| invalid(format!("`{name}` cannot be read")).cause(cause.to_string()))?;
        Ok(text)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        parse(name, &self.text(name)?)
    }

    /// The content with this digest.
    fn named(&self, digest: &Digest) -> Result<Vec<u8>> {
        let name = blob(digest);
        let text = self.text(&name)?;
        let mut hash = Sha256::new();
        hash.update(&text);
        if hexadecimal(hash) != digest.as_str() {
            return Err(invalid(format!("`{name}` is damaged: its digest differs")));
        }
        Ok(text)
    }
}

fn parse<T: DeserializeOwned>(name: &str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|cause| {
        let what = format!("`{}` is not understood", name.escape_debug());
        invalid(what).cause(cause.to_string())
    })
}

/// The path of this digest in a layout.
fn blob(digest: &Digest) -> String {
    format!("{BLOBS}{digest}")
}
