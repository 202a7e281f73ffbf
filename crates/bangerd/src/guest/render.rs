//! The second archive of the initramfs: the guest config, a few KiB, made at each start.

use banger_api::{Code, Error};
use banger_guest::config::{CONFIG_PATH, GuestConfig};

use super::initramfs::Archive;
use crate::error::Result;

/// The archive that holds nothing but the config.
///
/// # Errors
/// When the config is not valid.
pub fn config_archive(config: &GuestConfig) -> Result<Vec<u8>> {
    let json = config.to_json().map_err(|cause| {
        Error::new(Code::Internal, "render the guest config").cause(cause.to_string())
    })?;
    let mut archive = Archive::default();
    let path = CONFIG_PATH.trim_start_matches('/');
    if let Some((folder, _)) = path.rsplit_once('/') {
        archive.directory(folder)?;
    }
    archive.file(path, 0o600, &json)?;
    archive.finish()
}
