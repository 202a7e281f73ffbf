//! Packages a bundle as one archive, reproducibly: equal bundles give equal bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use super::error::failure_caused_by;
use super::interrupt::InterruptSignal;
use super::{Bundle, GUEST, MANIFEST, MODULES, ROOTFS, Result, VMLINUX, digest};
use crate::download::hexadecimal;

/// Optional programs of a bundle.
const PROGRAMS: [&str; 2] = ["firecracker", "jailer"];

/// A packaged bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// The archive.
    pub archive: PathBuf,
    /// The manifest beside it, for `bundle fetch`.
    pub manifest: PathBuf,
    /// The archive's SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Packages the bundle in `folder` as `archive`, a `.tar.gz`, and writes its manifest,
/// `runtime-bundle.toml`, beside it.
///
/// # Errors
/// The bundle is damaged, or the archive cannot be written; an older archive stays as it is.
pub(crate) fn package(folder: &Path, archive: &Path) -> Result<Package> {
    let bundle = Bundle::load(folder)?;
    bundle.verify()?;
    let interrupt = InterruptSignal::watch(|| {})?;
    let map_io_error = |cause| failure_caused_by(format!("write `{}`", archive.display()), cause);
    let above = archive.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(above).map_err(map_io_error)?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let temporary = TemporaryFile(above.join(format!(".{name}.{}", std::process::id())));
    let file = File::create(&temporary.0).map_err(map_io_error)?;
    let mut writer = HashingWriter {
        inner: BufWriter::new(file),
        hash: Sha256::new(),
        size: 0,
    };
    pack(&bundle, &mut writer, &interrupt)?;
    let (sha256, size) = (hexadecimal(writer.hash), writer.size);
    let file = writer.inner.into_inner();
    let written = file.map_err(io::IntoInnerError::into_error);
    written
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&temporary.0, archive))
        .map_err(map_io_error)?;
    let manifest = archive.with_file_name(super::source::FILE);
    let text = super::source::text(&name, &sha256);
    fs::write(&manifest, text)
        .map_err(|cause| failure_caused_by(format!("write `{}`", manifest.display()), cause))?;
    Ok(Package {
        archive: archive.to_owned(),
        manifest,
        sha256,
        size,
    })
}

/// Writes the archive: names in order, no times, no owners, two modes.
fn pack(bundle: &Bundle, to: &mut impl Write, interrupt: &InterruptSignal) -> Result<()> {
    let gzip = GzBuilder::new().mtime(0).write(to, Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    let mut names: Vec<PathBuf> = [MANIFEST, VMLINUX, GUEST, ROOTFS].map(PathBuf::from).into();
    let programs = PROGRAMS.iter().map(PathBuf::from);
    names.extend(programs.filter(|it| bundle.folder.join(it).is_file()));
    let modules = digest::files(&bundle.modules())?;
    names.extend(modules.iter().map(|it| Path::new(MODULES).join(it)));
    names.sort();
    for name in names {
        interrupt.check()?;
        let path = bundle.folder.join(&name);
        let map_io_error = |cause| failure_caused_by(format!("pack `{}`", path.display()), cause);
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
        let reader = InterruptibleReader(file, interrupt);
        builder.append(&header, reader).map_err(map_io_error)?;
    }
    let map_io_error = |cause| failure_caused_by("write the archive", cause);
    let gzip = builder.into_inner().map_err(map_io_error)?;
    gzip.finish().map(drop).map_err(map_io_error)
}

/// A reader that fails after ^C.
struct InterruptibleReader<'a>(File, &'a InterruptSignal);

impl io::Read for InterruptibleReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.check().map_err(io::Error::other)?;
        self.0.read(buffer)
    }
}

/// The archive while it is written. It is removed when dropped, unless it was renamed.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A writer that hashes and counts its bytes.
struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
