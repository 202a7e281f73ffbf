//! An init for the root file system of a container: added in a VM, with the image's own apt.
//!
//! ```text
//! archive ─► second disk of a build's VM ─► apt-get install, in it ─► the image
//! ```
//!
//! Neither the file system is mounted nor a program of it is run on the host.

use std::path::Path;

use banger_api::{BuildStep, Code, Error, Mib};

use super::foreign::Footprint;
use super::recipe::Mirrors;
use crate::error::Result;

const UNPACK: &str = include_str!("unpack.sh");
const INSTALL: &str = include_str!("install.sh");
const FINISH: &str = include_str!("finish.sh");

/// The place in [`INSTALL`] where apt's sources are set.
const SOURCES: &str = ": SOURCES";

/// The least size of such an image, and what it has beyond its files.
const LEAST: Mib = Mib(4096);
const ROOM: u64 = 2048;

/// The bytes of a disk for each inode (`mke2fs -i`).
const BYTES_OF_INODE: u64 = 16_384;

/// The size of the root file system for these files: a disk of many small ones runs out of inodes before
/// it is full. The inodes themselves and the journal take a part, too.
#[must_use]
pub(crate) fn size(files: &Footprint) -> Mib {
    let bytes = files.bytes.max(files.inodes.saturating_mul(BYTES_OF_INODE));
    let bytes = bytes.saturating_add(bytes / 32);
    let mib = bytes.div_ceil(1 << 20) + ROOM;
    LEAST.max(Mib(mib.next_multiple_of(256)))
}

/// The steps of a build of the second disk.
///
/// # Errors
/// If the path of the archive is not text.
pub(crate) fn steps(archive: &Path, mirrors: &Mirrors) -> Result<Vec<BuildStep>> {
    let input = archive.to_str().map(str::to_owned);
    let input = input
        .ok_or_else(|| Error::new(Code::Invalid, format!("{} is not text", archive.display())))?;
    let step = |name: &str, script: String| BuildStep {
        name: name.to_owned(),
        script,
        ..BuildStep::default()
    };
    let sources = mirrors.apt_sources();
    Ok(vec![
        BuildStep {
            input: Some(input),
            ..step("unpack the files", UNPACK.to_owned())
        },
        step(
            "add systemd and sshd",
            INSTALL.replacen(SOURCES, &sources, 1),
        ),
        step("finish the image", FINISH.to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_reads_the_mirrors_of_the_configuration_in_the_image() {
        let mirrors = Mirrors {
            debian: Some("http://mirror.example/debian".to_owned()),
            ..Mirrors::default()
        };
        let steps = steps(Path::new("/var/tmp/root.tar"), &mirrors).unwrap();
        assert_eq!(steps[0].input.as_deref(), Some("/var/tmp/root.tar"));
        assert!(steps[1].script.contains("mirror.example/debian"));
        assert!(!steps[1].script.contains(SOURCES));
        let plain = super::steps(Path::new("/a"), &Mirrors::default()).unwrap();
        assert!(!plain[1].script.contains(SOURCES));
    }

    #[test]
    fn an_image_has_room_for_what_is_added_and_inodes_for_small_files() {
        let of = |bytes, inodes| size(&Footprint { bytes, inodes });
        assert_eq!(of(100 << 20, 1000), Mib(4096));
        assert_eq!(of(10 << 30, 1000), Mib(12_800));
        // A million files of a few bytes take 4 GiB, and more inodes than 6 GiB have.
        let many = of(4 << 30, 1_000_000);
        assert!(
            many.0 << 20 >= 1_000_000 * BYTES_OF_INODE + (2 << 30),
            "{many}"
        );
    }
}
