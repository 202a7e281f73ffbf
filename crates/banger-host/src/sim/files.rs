//! Changes of the simulated files.

use std::path::{Path, PathBuf};

use super::change::{made, missing};
use super::{SimFile, SimPermission, SimState, archive, snapshot};
use crate::{Change, Error, FileOp, Kind, Owner, Result};

const MIB: u64 = 1 << 20;

/// The mode of a disk image that has an owner.
const OF_ONE_OWNER: u32 = 0o600;

/// The user that changes files, and whether there is a free block.
pub(super) struct FileSystem {
    pub(super) uid: u32,
    pub(super) is_full: bool,
}

impl FileSystem {
    /// Fails if the change needs a block and none is free. A new entry in an existing folder, and a
    /// hole, need none.
    fn need_block(&self) -> Result<()> {
        if self.is_full {
            return Err(Error::new(Kind::NoSpace, "No space left on device"));
        }
        Ok(())
    }

    fn permission(&self, mode: u32, owner: Option<Owner>) -> SimPermission {
        SimPermission {
            mode,
            uid: owner.map_or(self.uid, |owner| owner.uid),
        }
    }
}

/// Writes a file; its folder must exist, as on a real host.
fn put(
    state: &mut SimState,
    path: &Path,
    file: SimFile,
    permission: SimPermission,
) -> Result<Change> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if folder != Path::new("/") && !state.directories.contains(folder) {
        return Err(missing(folder));
    }
    let before = state.permissions.insert(path.to_owned(), permission);
    let replaced = state.files.insert(path.to_owned(), file.clone());
    made(before != Some(permission) || replaced != Some(file))
}

fn file_at(state: &SimState, path: &Path) -> Result<SimFile> {
    let found = state.files.get(path).cloned();
    found.ok_or_else(|| missing(path))
}

pub(super) fn change(state: &mut SimState, host: &FileSystem, op: &FileOp) -> Result<Change> {
    match op {
        FileOp::MakeDirectory { path, mode, owner } => {
            make_directory(state, host, path, host.permission(*mode, *owner))
        }
        FileOp::RemoveDirectory { path } => {
            let before = state.directories.len();
            state.directories.retain(|it| !it.starts_with(path));
            state.files.retain(|it, _| !it.starts_with(path));
            state.permissions.retain(|it, _| !it.starts_with(path));
            made(before != state.directories.len())
        }
        FileOp::WriteFile {
            path,
            contents,
            mode,
            owner,
        }
        | FileOp::WriteScratch {
            path,
            contents,
            mode,
            owner,
        } => {
            host.need_block()?;
            let file = SimFile::of(contents.clone());
            put(state, path, file, host.permission(*mode, *owner))
        }
        FileOp::RemoveFile { path } => {
            state.permissions.remove(path);
            made(state.files.remove(path).is_some())
        }
        FileOp::GiveFile { path, owner } => {
            file_at(state, path)?;
            let permission = host.permission(OF_ONE_OWNER, Some(*owner));
            let before = state.permissions.insert(path.clone(), permission);
            made(before != Some(permission))
        }
        FileOp::RenameFile { from, to } => rename(state, from, to),
        FileOp::LinkFile { from, to } => {
            let file = file_at(state, from)?;
            let permission = state.permission(from, host.uid);
            put(state, to, file, permission)
        }
        FileOp::MakeLink { path, target } => {
            let file = SimFile::of(target.display().to_string().into_bytes());
            put(state, path, file, host.permission(0o777, None))
        }
        FileOp::MakeNode { path, owner, .. } => {
            let permission = host.permission(OF_ONE_OWNER, *owner);
            put(state, path, SimFile::default(), permission)
        }
        FileOp::CloneFile { from, to, owner } | FileOp::CopyFile { from, to, owner } => {
            host.need_block()?;
            let file = file_at(state, from)?;
            let mode = match owner {
                Some(_) => OF_ONE_OWNER,
                None => state.permission(from, host.uid).mode & 0o755,
            };
            put(state, to, file, host.permission(mode, *owner))
        }
        FileOp::MakeFilesystem {
            path,
            size_mib,
            owner,
            label: _,
        } => {
            if state.files.contains_key(path) {
                return Ok(Change::Already);
            }
            host.need_block()?;
            let file = SimFile {
                length: size_mib * MIB,
                ..SimFile::default()
            };
            put(state, path, file, host.permission(OF_ONE_OWNER, *owner))
        }
        FileOp::GrowFile { path, size_mib } => {
            let file = state.files.get_mut(path).ok_or_else(|| missing(path))?;
            let longer = file.length < size_mib * MIB;
            file.length = file.length.max(size_mib * MIB);
            made(longer)
        }
        FileOp::PunchHole { path, offset } => {
            let file = state.files.get_mut(path).ok_or_else(|| missing(path))?;
            let before = file.hole;
            file.hole = before.max((*offset).min(file.length));
            made(file.hole != before)
        }
        FileOp::PackFiles { to, head, files } => {
            host.need_block()?;
            let file = SimFile::of(archive::pack(state, head, files)?);
            put(state, to, file, host.permission(OF_ONE_OWNER, None))
        }
        FileOp::UnpackFiles { from, to } => {
            host.need_block()?;
            let mut change = Change::Already;
            for (path, file) in archive::unpack(&file_at(state, from)?, to)? {
                change |= put(state, &path, file, host.permission(0o644, None))?;
            }
            Ok(change)
        }
        FileOp::RestoreStore { path } => snapshot::restore(state, path),
    }
}

fn make_directory(
    state: &mut SimState,
    host: &FileSystem,
    path: &Path,
    permission: SimPermission,
) -> Result<Change> {
    let above = path.ancestors().filter(|it| *it != Path::new("/"));
    let lacking: Vec<PathBuf> = above
        .filter(|it| !state.directories.contains(*it))
        .map(Path::to_owned)
        .collect();
    if !lacking.is_empty() {
        host.need_block()?;
    }
    let mut changed = !lacking.is_empty();
    for folder in lacking {
        state.permissions.insert(folder.clone(), permission);
        state.directories.insert(folder);
    }
    changed |= state.permissions.insert(path.to_owned(), permission) != Some(permission);
    made(changed)
}

fn rename(state: &mut SimState, from: &Path, to: &Path) -> Result<Change> {
    match state.files.remove(from) {
        Some(file) => {
            state.files.insert(to.to_owned(), file);
            match state.permissions.remove(from) {
                Some(permission) => state.permissions.insert(to.to_owned(), permission),
                None => state.permissions.remove(to),
            };
            Ok(Change::Made)
        }
        None if state.files.contains_key(to) => Ok(Change::Already),
        None => Err(missing(from)),
    }
}
