//! The second archive of the initramfs, made at each start: the guest program as `/init`, and the
//! guest config, a few KiB.
//!
//! Files of the second archive replace files of the first one, so images whose first archive
//! contains a guest program boot with the daemon's, too.

use banger_api::{Code, Error};
use banger_guest::config::{CONFIG_PATH, GuestConfig};

use super::initramfs::Archive;
use crate::error::Result;

/// The archive of the guest program and its config.
///
/// # Errors
/// The config is invalid.
pub(crate) fn start_archive(program: &[u8], config: &GuestConfig) -> Result<Vec<u8>> {
    let json = config.to_json().map_err(|cause| {
        Error::new(Code::Internal, "render the guest config").cause(cause.to_string())
    })?;
    let mut archive = Archive::default();
    archive.file("init", 0o755, program)?;
    let path = CONFIG_PATH.trim_start_matches('/');
    if let Some((folder, _)) = path.rsplit_once('/') {
        archive.directory(folder)?;
    }
    archive.file(path, 0o600, &json)?;
    archive.finish()
}
