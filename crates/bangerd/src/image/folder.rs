//! Writes and removes the folders of images.
//!
//! The record is written last and removed first. A folder without a record is incomplete and is
//! replaced, so a crash never leaves a partial image.

use std::path::{Path, PathBuf};

use banger_api::{Code, Error};
use banger_host::{FileOp, Host, Op};
use serde::Serialize;

use crate::error::{During, Result, is_unsupported};
use crate::layout::ImageLayout;

/// Whether the image is missing or incomplete.
pub(super) fn is_missing(image: &ImageLayout, host: &dyn Host) -> Result<bool> {
    host.stat(&image.record())
        .map(|stat| stat.is_none())
        .during("look for an image")
}

/// Removes an image; returns the freed bytes.
pub(super) fn remove(image: &ImageLayout, host: &dyn Host) -> Result<u64> {
    let parts = [image.root(), image.kernel(), image.base_archive()];
    let sizes = parts.iter().map(|it| host.stat(it).ok().flatten());
    let freed = sizes.flatten().map(|stat| stat.allocated).sum();
    let path = image.record();
    host.change(&Op::File(FileOp::RemoveFile { path }))
        .during("remove its record")?;
    let path = image.folder().to_owned();
    host.change(&Op::File(FileOp::RemoveDirectory { path }))
        .during("remove its folder")?;
    Ok(freed)
}

/// An image's folder, without leftovers of an interrupted import.
pub(super) fn fresh(image: &ImageLayout, host: &dyn Host) -> Result<()> {
    let path = image.folder().to_owned();
    host.change(&Op::File(FileOp::RemoveDirectory { path: path.clone() }))
        .during("clear an image's folder")?;
    host.change(&Op::File(FileOp::MakeDirectory {
        path,
        mode: 0o711,
        owner: None,
    }))
    .during("make an image's folder")
    .map(drop)
}

/// Blocks are shared if the file system supports it, and copied otherwise.
pub(super) fn share(from: &Path, to: &Path, host: &dyn Host) -> Result<()> {
    let what = || format!("import `{}`", from.display());
    let (from, to) = (from.to_owned(), to.to_owned());
    let clone = Op::File(FileOp::CloneFile {
        from: from.clone(),
        to: to.clone(),
        owner: None,
    });
    match host.change(&clone) {
        Err(error) if is_unsupported(&error) => host
            .change(&Op::File(FileOp::CopyFile {
                from,
                to,
                owner: None,
            }))
            .during(what())
            .map(drop),
        other => other.during(what()).map(drop),
    }
}

pub(super) fn write(path: PathBuf, contents: Vec<u8>, host: &dyn Host) -> Result<()> {
    let what = format!("write `{}`", path.display());
    host.change(&Op::File(FileOp::WriteFile {
        path,
        contents,
        mode: 0o644,
        owner: None,
    }))
    .during(what)
    .map(drop)
}

/// Writes an image's record, once everything else is there.
pub(super) fn record(image: &ImageLayout, what: &impl Serialize, host: &dyn Host) -> Result<()> {
    let contents = serde_json::to_vec_pretty(what)
        .map_err(|cause| Error::new(Code::Internal, "record an image").cause(cause.to_string()))?;
    write(image.record(), contents, host)
}
