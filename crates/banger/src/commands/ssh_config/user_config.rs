//! Edits the user's own `~/.ssh/config`: adds three lines at its beginning, and removes exactly
//! those.
//!
//! The file is replaced atomically (temporary file, fsync, rename), so readers and crashes see the
//! old or the new one. A symbolic link is followed, such as one into a repository of dotfiles: its
//! target is replaced, and the link stays.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use rustix::fs::{FlockOperation, flock};

const BEGIN: &str =
    "# banger begin: added by `banger ssh-config --install`, taken out by --remove\n";
/// The first line if the file was created for it.
const BEGIN_OF_NEW: &str = "# banger begin: this file was made by `banger ssh-config --install`, and --remove takes it out\n";
const END: &str = "# banger end\n";

/// The maximum number of links to follow, that of the kernel.
const MOST_LINKS: usize = 40;
/// The number of attempts if another program changes the file meanwhile.
const ATTEMPTS: usize = 5;

/// The file of one user.
#[derive(Debug)]
pub(super) struct UserConfig {
    folder: PathBuf,
    path: PathBuf,
}

/// The file at the time of a read.
struct Snapshot {
    /// Its real path.
    path: PathBuf,
    /// Its content; `None` if it does not exist.
    text: Option<Vec<u8>>,
    /// Its permissions, which a new file gets, too.
    mode: u32,
    owner: (u32, u32),
}

impl UserConfig {
    /// The file of the user with this home.
    pub(super) fn of(home: &Path) -> Self {
        let folder = home.join(".ssh");
        let path = folder.join("config");
        Self { folder, path }
    }

    /// Its path as the user knows it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Includes `file` before everything else; returns false if it is included already.
    ///
    /// # Errors
    /// If it cannot be written, or ssh cannot include a file with the name of `file`.
    pub(super) fn install(&self, file: &Path) -> Result<bool> {
        let include = include(file)?;
        if !self.folder.exists() {
            let mut builder = fs::DirBuilder::new();
            let made = builder.mode(0o700).create(&self.folder);
            made.or_else(|cause| match cause.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(self.trouble(&cause, Some(&include))),
            })?;
        }
        self.change(Some(&include), |text| {
            let is_new = text.is_none();
            let (rest, was_made) = without(text.unwrap_or_default(), &include);
            let begin = if is_new || was_made {
                BEGIN_OF_NEW
            } else {
                BEGIN
            };
            Some([begin.as_bytes(), include.as_bytes(), END.as_bytes(), &rest].concat())
        })
    }

    /// Removes the inclusion of `file`; returns false if there is none.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn remove(&self, file: &Path) -> Result<bool> {
        let include = include(file)?;
        if !self.folder.exists() {
            return Ok(false);
        }
        self.change(None, |text| {
            let (rest, was_made) = without(text?, &include);
            // A file that was created for the inclusion and is empty now is removed.
            (!(was_made && rest.is_empty())).then_some(rest)
        })
    }

    /// The names of VMs that the user has defined as hosts of their own.
    pub(super) fn shadowed(&self, vms: &[String]) -> Vec<String> {
        let text = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut found = Vec::new();
        for line in text.lines() {
            let mut words = line.trim().split([' ', '\t', '=', '"']);
            if words
                .next()
                .is_some_and(|it| it.eq_ignore_ascii_case("host"))
            {
                let hosts = words.filter(|word| vms.iter().any(|vm| vm == word));
                found.extend(hosts.map(str::to_owned));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Replaces the file by the result of `change`; returns false if that is the same. `None` means
    /// no file.
    fn change(
        &self,
        include: Option<&str>,
        change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<bool> {
        let trouble = |cause: io::Error| self.trouble(&cause, include);
        let folder = File::open(&self.folder).map_err(trouble)?;
        // The lock is for banger's own processes; other programs do not take it.
        flock(&folder, FlockOperation::LockExclusive)
            .map_err(|cause| self.trouble(&cause.into(), include))?;
        for _ in 0..ATTEMPTS {
            let found = self.find().map_err(trouble)?;
            let new = change(found.text.as_deref());
            if new == found.text {
                return Ok(false);
            }
            if found.text.is_some() && found.mode & 0o200 == 0 {
                return Err(self.trouble(
                    &io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"),
                    include,
                ));
            }
            if replace(&found, new.as_deref()).map_err(trouble)? {
                return Ok(true);
            }
        }
        Err(Error::new(
            Code::Busy,
            format!("another program keeps changing `{}`", self.path.display()),
        ))
    }

    fn find(&self) -> io::Result<Snapshot> {
        let mut path = self.path.clone();
        for _ in 0..MOST_LINKS {
            match fs::read_link(&path) {
                Ok(target) => {
                    let folder = path.parent().unwrap_or(Path::new("/"));
                    path = folder.join(target);
                }
                Err(_) => break,
            }
        }
        let folder = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Snapshot {
                text: Some(fs::read(&path)?),
                path,
                mode: metadata.permissions().mode() & 0o7777,
                owner: (metadata.uid(), metadata.gid()),
            }),
            Ok(_) => Err(io::Error::other("it is not a regular file")),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Snapshot {
                path,
                text: None,
                mode: 0o600,
                owner: (folder.uid(), folder.gid()),
            }),
            Err(cause) => Err(cause),
        }
    }

    fn trouble(&self, cause: &io::Error, include: Option<&str>) -> Error {
        let error = Error::new(Code::Host, format!("change `{}`", self.path.display()))
            .cause(cause.to_string());
        match include {
            Some(include) => error.hint(format!(
                "to do it yourself, make this its first line: {}",
                include.trim_end()
            )),
            None => error,
        }
    }
}

/// The line that includes a file. ssh splits it at blanks, and reads the name as a shell pattern.
/// Newer versions also expand `%` and `$` and older ones do not, so the pattern for any character
/// replaces these.
fn include(file: &Path) -> Result<String> {
    let refused = || {
        Error::new(
            Code::Invalid,
            format!("ssh cannot include `{}`", file.display()),
        )
        .cause("it has a character in its path that means something to ssh")
        .hint("use another state directory: banger --state DIR …")
    };
    let path = file.to_str().ok_or_else(refused)?;
    if path.contains(['"', '\\', '\n', '\r']) {
        return Err(refused());
    }
    let literal: String = path
        .chars()
        .map(|character| match character {
            '*' | '?' | '[' => format!("[{character}]"),
            '%' | '$' => "?".to_owned(),
            _ => character.to_string(),
        })
        .collect();
    Ok(format!("Include \"{literal}\"\n"))
}

/// The text without banger's lines, and whether they mark a file that banger created.
fn without(text: &[u8], include: &str) -> (Vec<u8>, bool) {
    let mut rest = text.to_vec();
    let mut was_made = false;
    for begin in [BEGIN, BEGIN_OF_NEW] {
        let ours = [begin, include, END].concat().into_bytes();
        while let Some(at) = (0..rest.len())
            .find(|at| rest[*at..].starts_with(&ours) && (*at == 0 || rest[at - 1] == b'\n'))
        {
            rest.drain(at..at + ours.len());
            was_made |= begin == BEGIN_OF_NEW;
        }
    }
    (rest, was_made)
}

/// Replaces the file by the new text; returns false if the file has changed since it was read.
fn replace(found: &Snapshot, new: Option<&[u8]>) -> io::Result<bool> {
    let folder = found.path.parent().unwrap_or(Path::new("/"));
    let mut name = found.path.file_name().unwrap_or_default().to_owned();
    name.push(".banger-new");
    let temporary = folder.join(name);
    if let Some(new) = new {
        // A crash may have left it behind.
        let _ = fs::remove_file(&temporary);
        let written = write(&temporary, new, found);
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
    }
    let now = match fs::read(&found.path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        read => Some(read?),
    };
    if now != found.text {
        let _ = fs::remove_file(&temporary);
        return Ok(false);
    }
    if new.is_some() {
        fs::rename(&temporary, &found.path)?;
    } else {
        fs::remove_file(&found.path)?;
    }
    File::open(folder)?.sync_all()?;
    Ok(true)
}

fn write(path: &Path, text: &[u8], found: &Snapshot) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text)?;
    let metadata = file.metadata()?;
    if (metadata.uid(), metadata.gid()) != found.owner {
        // With sudo the file stays the user's own.
        std::os::unix::fs::fchown(&file, Some(found.owner.0), Some(found.owner.1))?;
    }
    file.set_permissions(fs::Permissions::from_mode(found.mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
