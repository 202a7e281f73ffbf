//! The guest's status.

use std::fs;

use banger_guest::protocol::{Phase, Status, Usage};
use rustix::fs::statvfs;

use crate::boot_record::BootRecord;
use crate::system::clock;

pub(crate) fn status(phase: Phase, record: &BootRecord) -> Status {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Status {
        phase,
        uptime_millis: clock::uptime_millis(),
        load_hundredths: load(&fs::read_to_string("/proc/loadavg").unwrap_or_default()),
        memory_bytes: memory_bytes(&memory, "MemTotal:"),
        memory_available_bytes: memory_bytes(&memory, "MemAvailable:"),
        filesystems: record
            .mounts
            .iter()
            .filter_map(|mount| usage(mount))
            .collect(),
        warnings: record.warnings.clone(),
    }
}

fn usage(mount: &str) -> Option<Usage> {
    let found = statvfs(mount).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(Usage {
        mount: mount.to_owned(),
        size_bytes: bytes(found.f_blocks),
        used_bytes: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        available_bytes: bytes(found.f_bavail),
    })
}

/// The value of a line such as `MemTotal:  1024 kB`, in bytes.
fn memory_bytes(meminfo: &str, name: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    kib * 1024
}

/// The first number of `0.42 0.10 0.02 1/80 1234`, in hundredths; it always has two decimals.
fn load(loadavg: &str) -> u32 {
    let first = loadavg.split(' ').next().unwrap_or_default();
    first.replace('.', "").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(load("12.42 0.10 0.02 1/80 1234\n"), 1242);
        let meminfo = "MemTotal:        1024000 kB\nMemAvailable:     512 kB\n";
        assert_eq!(memory_bytes(meminfo, "MemTotal:"), 1_048_576_000);
        assert_eq!(memory_bytes(meminfo, "MemAvailable:"), 524_288);
        assert_eq!(memory_bytes("", "MemTotal:"), 0);
    }

    #[test]
    fn a_mount_that_is_gone_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent").display().to_string();
        let record = BootRecord {
            mounts: vec!["/".into(), absent],
            warnings: vec!["w".into()],
        };
        let status = status(Phase::Ready, &record);
        assert_eq!(status.filesystems.len(), 1);
        assert!(status.filesystems[0].size_bytes >= status.filesystems[0].used_bytes);
        assert_eq!(status.warnings, ["w"]);
    }
}
