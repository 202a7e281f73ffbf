//! Packs a bundle into one file, byte for byte the same from the same bundle.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use super::interruption::Interruption;
use super::{Bundle, BundleError, GUEST, MANIFEST, MODULES, ROOTFS, Result, VMLINUX, digest};
use crate::download::hexadecimal;

/// What a bundle may have besides; it is packed where it is there.
const PROGRAMS: [&str; 2] = ["firecracker", "jailer"];

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The archive.
    pub archive: PathBuf,
    /// What `bundle fetch` takes beside it.
    pub manifest: PathBuf,
    /// The archive's SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Packs the bundle in `folder` into `archive`, a `.tar.gz`, and writes `runtime-bundle.toml`
/// beside it, which names it.
///
/// # Errors
/// When the bundle is damaged, or the archive cannot be written; an older one is whole then.
pub fn package(folder: &Path, archive: &Path) -> Result<Package> {
    let bundle = Bundle::load(folder)?;
    bundle.verify()?;
    let interruption = Interruption::watch(|| {})?;
    let map_io_error =
        |cause| BundleError::because(format!("write `{}`", archive.display()), cause);
    let above = archive.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(above).map_err(map_io_error)?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let aside = Aside(above.join(format!(".{name}.{}", std::process::id())));
    let file = File::create(&aside.0).map_err(map_io_error)?;
    let mut hashing = Hashing {
        below: BufWriter::new(file),
        hash: Sha256::new(),
        size: 0,
    };
    pack(&bundle, &mut hashing, &interruption)?;
    let (sha256, size) = (hexadecimal(hashing.hash), hashing.size);
    let file = hashing.below.into_inner();
    let written = file.map_err(io::IntoInnerError::into_error);
    written
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&aside.0, archive))
        .map_err(map_io_error)?;
    let manifest = archive.with_file_name(super::source::FILE);
    let text = super::source::text(&name, &sha256);
    fs::write(&manifest, text)
        .map_err(|cause| BundleError::because(format!("write `{}`", manifest.display()), cause))?;
    Ok(Package {
        archive: archive.to_owned(),
        manifest,
        sha256,
        size,
    })
}

/// Writes the archive: names in order, no times, no owners, two modes.
fn pack(bundle: &Bundle, to: &mut impl Write, interruption: &Interruption) -> Result<()> {
    let gzip = GzBuilder::new().mtime(0).write(to, Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    let mut names: Vec<PathBuf> = [MANIFEST, VMLINUX, GUEST, ROOTFS].map(PathBuf::from).into();
    let programs = PROGRAMS.iter().map(PathBuf::from);
    names.extend(programs.filter(|it| bundle.folder.join(it).is_file()));
    let modules = digest::files(&bundle.modules())?;
    names.extend(modules.iter().map(|it| Path::new(MODULES).join(it)));
    names.sort();
    for name in names {
        interruption.check()?;
        let path = bundle.folder.join(&name);
        let map_io_error =
            |cause| BundleError::because(format!("pack `{}`", path.display()), cause);
        let file = File::open(&path).map_err(map_io_error)?;
        let found = file.metadata().map_err(map_io_error)?;
        let is_program = found.permissions().mode() & 0o100 != 0;
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(if is_program { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(found.len());
        header.set_path(&name).map_err(map_io_error)?;
        header.set_cksum();
        let watched = Watched(file, interruption);
        builder.append(&header, watched).map_err(map_io_error)?;
    }
    let map_io_error = |cause| BundleError::because("write the archive", cause);
    let gzip = builder.into_inner().map_err(map_io_error)?;
    gzip.finish().map(drop).map_err(map_io_error)
}

/// A file that is read until ^C.
struct Watched<'a>(File, &'a Interruption);

impl io::Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.check().map_err(io::Error::other)?;
        self.0.read(buffer)
    }
}

/// The archive while it is written. It goes when it was not put in place.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Hashes what is written.
struct Hashing<W> {
    below: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.below.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.below.flush()
    }
}
