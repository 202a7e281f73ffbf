//! Free space on file systems, and free memory.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::context::During as _;
use super::probes;
use crate::{Error, Kind, Result, Room};

const MIB: u64 = 1 << 20;

const MEMORY: &str = "/proc/meminfo";
const LOAD: &str = "/proc/loadavg";

/// The memory of the host; see proc_meminfo(5).
#[derive(Debug)]
pub(super) struct MemInfo(String);

pub(super) fn memory() -> Result<MemInfo> {
    fs::read_to_string(MEMORY)
        .map(MemInfo)
        .during(|| format!("read `{MEMORY}`"))
}

impl MemInfo {
    /// The value of a line, in MiB, rounded down.
    pub(super) fn mib(&self, name: &str) -> Result<u64> {
        let line = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|it| it.split_ascii_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib / 1024)
            .ok_or_else(|| Error::new(Kind::Other, format!("`{MEMORY}` has no `{name}`")))
    }
}

/// Look::load; see proc_loadavg(5).
pub(super) fn load() -> Result<[f64; 3]> {
    let text = fs::read_to_string(LOAD).during(|| format!("read `{LOAD}`"))?;
    averages(&text)
        .ok_or_else(|| Error::new(Kind::Other, format!("`{LOAD}` has no three load averages")))
}

fn averages(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next()?.parse().ok();
    Some([next()?, next()?, next()?])
}

/// Look::room.
pub(super) fn room(directory: &Path) -> Result<Room> {
    let place = probes::existing(directory);
    let found = rustix::fs::statvfs(place).during(|| format!("examine `{}`", place.display()))?;
    let memory = memory()?;
    Ok(Room {
        size_mib: found.f_blocks.saturating_mul(found.f_frsize) / MIB,
        free_mib: found.f_bavail.saturating_mul(found.f_frsize) / MIB,
        unwritten_mib: memory.mib("Dirty")? + memory.mib("Writeback")?,
    })
}

/// Look::largest_file, found by truncating a nameless file, which takes no space. No file system
/// reports the limit.
pub(super) fn largest_file(directory: &Path) -> Result<u64> {
    let what = || format!("find the largest file of `{}`", directory.display());
    let file = nameless_file(directory).during(what)?;
    // Beyond this limit the kernel sends SIGXFSZ, which would end us.
    let own = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    let most = own.unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs());
    let (mut fits, mut is_too_long) = (0, most.saturating_add(1));
    while is_too_long - fits > 1 {
        let length = fits + (is_too_long - fits) / 2;
        match rustix::fs::ftruncate(&file, length) {
            Ok(()) => fits = length,
            Err(Errno::FBIG | Errno::INVAL) => is_too_long = length,
            Err(cause) => return Err(cause).during(what),
        }
    }
    Ok(fits)
}

/// A nameless file in this directory, which is removed when its descriptor is closed.
fn nameless_file(directory: &Path) -> std::result::Result<OwnedFd, Errno> {
    let access = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, OFlags::TMPFILE | access, Mode::RUSR | Mode::WUSR) {
        // Some network file systems and overlays do not support `O_TMPFILE`.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
            let path = directory.join(format!(".largest.{}.new", std::process::id()));
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | access;
            let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
            rustix::fs::unlink(&path)?;
            Ok(file)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_memory_is_found_by_its_whole_name() {
        let memory =
            MemInfo("MemTotal:  2048 kB\nWritebackTmp: 9999 kB\nWriteback: 3072 kB\n".into());
        assert_eq!(memory.mib("MemTotal").unwrap(), 2);
        assert_eq!(memory.mib("Writeback").unwrap(), 3);
        assert!(memory.mib("Mem").is_err());
    }

    #[test]
    fn the_load_is_three_numbers() {
        assert_eq!(
            averages("0.52 1.00 12.5 2/301 9721\n"),
            Some([0.52, 1.0, 12.5])
        );
        assert_eq!(averages("0.52 1.00"), None);
        assert!(load().unwrap().iter().all(|it| *it >= 0.0));
    }

    #[test]
    fn the_largest_file_can_be_made_and_one_byte_more_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let largest = largest_file(folder.path()).unwrap();
        let file = fs::File::create(folder.path().join("file")).unwrap();
        file.set_len(largest).unwrap();
        if largest < i64::MAX.unsigned_abs() {
            assert!(file.set_len(largest + 1).is_err());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_system_is_no_fuller_than_it_is_large() {
        let folder = tempfile::tempdir().unwrap();
        let room = room(folder.path()).unwrap();
        assert!(
            room.size_mib > 0 && room.free_mib <= room.size_mib,
            "{room:?}"
        );
        let absent = folder.path().join("not/there");
        assert_eq!(super::room(&absent).unwrap().size_mib, room.size_mib);
    }
}
