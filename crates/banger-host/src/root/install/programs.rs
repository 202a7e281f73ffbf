//! Copies the programs that root runs to a directory that only root can write, and prints their
//! digests.
//!
//! The user may change the originals at any time. So each is opened once, and the checks and the
//! digest apply to the copy.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::files;
use crate::elf::Elf;
use crate::root_folder;
use crate::{Error, Kind, Result};

/// The largest program to copy, in bytes.
const LARGEST: u64 = 256 << 20;

/// An installed program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstalledProgram {
    /// Its path.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// The programs to copy, open.
#[derive(Debug)]
pub(super) struct Sources(Vec<Source>);

#[derive(Debug)]
struct Source {
    name: &'static str,
    from: PathBuf,
    file: File,
    /// Whether it must be static: a jail has no libraries.
    is_static: bool,
}

impl Sources {
    /// Opens the requested programs, and this one.
    pub(super) fn open(firecracker: Option<&Path>, jailer: Option<&Path>) -> Result<Self> {
        // Not by its path, which another program may have by now.
        let mut sources = vec![Source::open(
            "banger-root",
            Path::new("/proc/self/exe"),
            false,
        )?];
        for (name, path) in [("firecracker", firecracker), ("jailer", jailer)] {
            if let Some(path) = path {
                sources.push(Source::open(name, path, true)?);
            }
        }
        Ok(Self(sources))
    }

    /// Copies all programs.
    pub(super) fn put(
        mut self,
        folder: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<Vec<InstalledProgram>> {
        root_folder::make(folder)?;
        self.0
            .iter_mut()
            .map(|source| {
                let installed = source.put(folder)?;
                say(&format!(
                    "{}  {}",
                    installed.sha256,
                    installed.path.display()
                ));
                Ok(installed)
            })
            .collect()
    }
}

impl Source {
    fn open(name: &'static str, from: &Path, is_static: bool) -> Result<Self> {
        let describe = || format!("use `{}` as {name}", from.display());
        if !from.is_absolute() {
            return Err(Error::new(Kind::Other, "it is not an absolute path").within(describe()));
        }
        let file = File::open(from).map_err(|cause| Error::io(describe(), cause))?;
        let source = Self {
            name,
            from: from.to_owned(),
            file,
            is_static,
        };
        check_program(&source.file, is_static).map_err(|error| error.within(describe()))?;
        Ok(source)
    }

    fn put(&mut self, folder: &Path) -> Result<InstalledProgram> {
        let path = folder.join(self.name);
        let describe = || format!("copy `{}` to `{}`", self.from.display(), path.display());
        let map_io_error = |cause| Error::io(describe(), cause);
        let fresh = files::fresh(&path);
        let mut copy = files::create(&fresh)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut from = (&self.file).take(LARGEST);
        loop {
            let length = from.read(&mut buffer).map_err(map_io_error)?;
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
            copy.write_all(&buffer[..length]).map_err(map_io_error)?;
        }
        check_program(&copy, self.is_static).map_err(|error| error.within(describe()))?;
        files::settle(&copy, &fresh, &path, 0o755)?;
        let digest = hash.finalize();
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(InstalledProgram { path, sha256 })
    }
}

/// Rejects files that are not programs for this machine.
fn check_program(file: &File, is_static: bool) -> Result<()> {
    let odd = |text: &str| Err(Error::new(Kind::Other, text));
    let meta = file
        .metadata()
        .map_err(|cause| Error::io("examine it", cause))?;
    if !meta.is_file() {
        return odd("it is not a regular file");
    }
    if meta.len() > LARGEST {
        return odd("it is larger than 256 MiB");
    }
    match Elf::read(file).map_err(|cause| Error::io("read it", cause))? {
        None => odd("it is not a program: not a complete 64-bit ELF file"),
        Some(elf) if !elf.runs_here() => odd("it is a program for another architecture"),
        Some(elf) if is_static && elf.needs_libraries => {
            odd("it needs libraries, and must be a static program")
        }
        Some(_) => Ok(()),
    }
}

/// Checks the program that stops VMs when the host shuts down. It runs as the user, from where it
/// is.
pub(super) fn check_cli(path: &Path) -> Result<PathBuf> {
    let refused = |what: &str| {
        Err(
            Error::new(Kind::Other, format!("`{}` {what}", path.display()))
                .hint("name the program `banger` with --cli, by an absolute path"),
        )
    };
    if !path.is_absolute() {
        return refused("is not an absolute path");
    }
    if path
        .to_str()
        .is_none_or(|it| it.chars().any(char::is_control))
    {
        return refused("has characters that systemd does not accept");
    }
    match path.metadata() {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => Ok(path.to_owned()),
        Ok(_) => refused("is not a program"),
        Err(cause) => Err(Error::io(format!("examine `{}`", path.display()), cause)
            .hint("name the program `banger` with --cli, by an absolute path")),
    }
}
