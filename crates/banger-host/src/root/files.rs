//! Checks files and folders that a user passes as open descriptors: root never opens a user's path.
//!
//! Users can pass only what they could open themselves. Root passes that file to the kernel's loop
//! device, and nothing of its own.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::OFlags;

use super::{jailed, links};
use crate::linux::snapshot::SnapshotSpec;
use crate::{Claim, Error, JailIdentity, Kind, Owner, Result};

/// The file systems that a file may be on, by their numbers in `statfs(2)` and `linux/magic.h`. A
/// network file system, or a user's own program (FUSE), could stall the kernel while it writes, and
/// root with it.
const FILE_SYSTEMS: [(u32, &str); 8] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
    (0x2fc1_2fc1, "zfs"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlayfs"),
];

/// The snapshot to make, if these two files may be part of it.
pub(super) fn snapshot(
    claim: &Claim,
    name: String,
    size_mib: u64,
    descriptors: &[OwnedFd],
) -> Result<SnapshotSpec> {
    let [base, cow] = descriptors else {
        let text = format!(
            "it carries {} descriptors, and a snapshot needs two: its base and its store",
            descriptors.len()
        );
        return Err(Error::new(Kind::Denied, text));
    };
    let of = |file: &OwnedFd| file.as_fd().try_clone_to_owned().map(File::from);
    let map_io_error = |cause| Error::io("take a descriptor", cause);
    let (base, cow) = (
        of(base).map_err(map_io_error)?,
        of(cow).map_err(map_io_error)?,
    );
    let base_is = check(&base, claim, Part::Base)
        .map_err(|error| error.within("the base is not accepted"))?;
    let cow_is = check(&cow, claim, Part::Store)
        .map_err(|error| error.within("the store may not be written"))?;
    if (base_is.dev(), base_is.ino()) == (cow_is.dev(), cow_is.ino()) {
        return Err(Error::new(Kind::Denied, "base and store are the same file"));
    }
    Ok(SnapshotSpec {
        name,
        base,
        cow,
        size_mib,
        uid: claim.uid,
        gid: cow_is.gid(),
    })
}

/// The file systems that support ID-mapped mounts, with the first version of Linux for each:
/// `FS_ALLOW_IDMAP` in its sources.
const SHOWN_AS: [(u32, &str, (u32, u32)); 5] = [
    (0xef53, "ext4", (5, 12)),
    (0x5846_5342, "xfs", (5, 12)),
    (0x9123_683e, "btrfs", (5, 15)),
    (0xf2f5_2010, "f2fs", (5, 18)),
    (0x0102_1994, "tmpfs", (6, 3)),
];

/// The machine to jail, if these may be its folder, its output and its errors.
pub(super) fn jailed(
    claim: &Claim,
    jailed: JailIdentity,
    group: u32,
    descriptors: &[OwnedFd],
) -> Result<jailed::JailSpec> {
    let [folder, output, errors] = descriptors else {
        let text = format!(
            "it carries {} descriptors, and a jail needs three: folder, output, errors",
            descriptors.len()
        );
        return Err(Error::new(Kind::Denied, text));
    };
    // New files of the machine with root's group would belong to the user.
    if group == 0 {
        return Err(Error::new(Kind::Denied, "the user's group is root's"));
    }
    let map_io_error = |cause| Error::io("take a descriptor", cause);
    let of = |file: &OwnedFd| file.as_fd().try_clone_to_owned().map_err(map_io_error);
    check_folder(folder, claim)?;
    // If this program cannot look into the folder, the process that makes the jail checks it.
    if links::can_be_seen(folder) {
        links::check(folder)?;
    }
    let (output, errors) = (File::from(of(output)?), File::from(of(errors)?));
    for file in [&output, &errors] {
        check(file, claim, Part::Log).map_err(|error| error.within("it is not a machine's log"))?;
    }
    Ok(jailed::JailSpec {
        jailed,
        owner: Owner {
            uid: claim.uid,
            gid: group,
        },
        folder: of(folder)?,
        output,
        errors,
    })
}

/// Checks that the passed folder could be the folder of a jailed machine.
pub(super) fn jailable(claim: &Claim, descriptors: &[OwnedFd]) -> Result<()> {
    match descriptors {
        [folder] => check_folder(folder, claim),
        _ => Err(Error::new(Kind::Denied, "it carries no folder")),
    }
}

fn check_folder(folder: &OwnedFd, claim: &Claim) -> Result<()> {
    let refused = |text: String| {
        let error = Error::new(Kind::Denied, text);
        Err(error.within("the folder is not accepted as a machine's"))
    };
    let map_io_error = |cause: rustix::io::Errno| Error::io("examine the folder", cause.into());
    let flags = rustix::fs::fcntl_getfl(folder).map_err(map_io_error)?;
    let meta = rustix::fs::fstat(folder).map_err(map_io_error)?;
    if rustix::fs::FileType::from_raw_mode(meta.st_mode) != rustix::fs::FileType::Directory {
        return refused("it is not a folder".to_owned());
    }
    if !flags.contains(OFlags::PATH) {
        return refused("it is open for more than its name".to_owned());
    }
    if meta.st_uid != claim.uid {
        return refused(format!("it belongs to user {}", meta.st_uid));
    }
    if meta.st_mode & 0o022 != 0 {
        return refused("it is writable by others".to_owned());
    }
    let number = rustix::fs::fstatfs(folder).map_err(map_io_error)?.f_type as u32;
    let linux = rustix::system::uname();
    let found = SHOWN_AS.iter().find(|(magic, ..)| *magic == number);
    match (found, release(&linux.release().to_string_lossy())) {
        (None, _) => refused(format!(
            "its file system ({number:#x}) is not one of {}",
            SHOWN_AS.map(|(_, name, _)| name).join(", ")
        )),
        (Some((_, name, least)), Some(now)) if now < *least => refused(format!(
            "Linux {}.{} cannot show files on {name} as another user's, {}.{} can",
            now.0, now.1, least.0, least.1
        )),
        (Some(_), _) => Ok(()),
    }
}

/// The first two numbers of a kernel release.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|it: char| !it.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Base,
    Store,
    Log,
}

fn check(file: &File, claim: &Claim, part: Part) -> Result<std::fs::Metadata> {
    let refused = |text: String| Err(Error::new(Kind::Denied, text));
    let map_io_error = |cause| Error::io("examine it", cause);
    let meta = file.metadata().map_err(map_io_error)?;
    if !meta.is_file() {
        return refused("it is not a regular file".to_owned());
    }
    let flags = rustix::fs::fcntl_getfl(file).map_err(|cause| map_io_error(cause.into()))?;
    // A descriptor with O_PATH does not show that its holder may open the file.
    let way = flags & OFlags::RWMODE;
    let opened = !flags.contains(OFlags::PATH)
        && match part {
            Part::Base => way == OFlags::RDONLY || way == OFlags::RDWR,
            Part::Store => way == OFlags::RDWR && !flags.contains(OFlags::APPEND),
            Part::Log => way == OFlags::WRONLY && flags.contains(OFlags::APPEND),
        };
    if !opened {
        return refused("it is not open in the required mode".to_owned());
    }
    let own = meta.uid() == claim.uid;
    let roots = part == Part::Base && meta.uid() == 0;
    if !own && !roots {
        return refused(format!("it belongs to user {}", meta.uid()));
    }
    if part != Part::Base && meta.nlink() != 1 {
        return refused(format!(
            "it has {} names, and only one is allowed",
            meta.nlink()
        ));
    }
    let system = rustix::fs::fstatfs(file).map_err(|cause| map_io_error(cause.into()))?;
    // The numbers have 32 bits, even if the type of the field has more.
    let number = system.f_type as u32;
    if !FILE_SYSTEMS.iter().any(|(magic, _)| *magic == number) {
        let names: Vec<&str> = FILE_SYSTEMS.iter().map(|(_, name)| *name).collect();
        return refused(format!(
            "its file system ({number:#x}) is not one of {}",
            names.join(", ")
        ));
    }
    Ok(meta)
}
