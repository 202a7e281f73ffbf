//! The resource usage of the guest, from the kernel's counters.

use std::fs;

use banger_guest::streams::Usage;

use crate::exec::kills::oom_kills;
use crate::system::clock;

/// The kernel reports CPU time in hundredths of a second, on every architecture.
const MILLIS_PER_TICK: u64 = 10;

/// The usage now; a value that cannot be read is zero.
pub(super) fn usage() -> Usage {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let (received_bytes, sent_bytes) = traffic(&read("/proc/net/dev"));
    let (read_bytes, written_bytes) = disks(&read("/proc/diskstats"));
    Usage {
        uptime_millis: clock::uptime_millis(),
        cpu_busy_millis: busy_ticks(&read("/proc/stat")) * MILLIS_PER_TICK,
        load_hundredths: load(&read("/proc/loadavg")),
        memory_bytes: memory_of(&memory, "MemTotal:"),
        memory_available_bytes: memory_of(&memory, "MemAvailable:"),
        received_bytes,
        sent_bytes,
        read_bytes: Some(read_bytes),
        written_bytes: Some(written_bytes),
        oom_kills: oom_kills(&read("/proc/vmstat")),
    }
}

/// The ticks of all CPUs, without idle time (fields 4 and 5) and guest time, which user time
/// includes (9, 10): proc_stat(5).
fn busy_ticks(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    let fields: Vec<u64> = fields.skip(1).map(|it| it.parse().unwrap_or(0)).collect();
    let busy = [0, 1, 2, 5, 6];
    busy.iter().filter_map(|at| fields.get(*at)).sum()
}

fn load(text: &str) -> u32 {
    let first = text.split_whitespace().next().unwrap_or_default();
    let (whole, part) = first.split_once('.').unwrap_or((first, "0"));
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    number(whole)
        .saturating_mul(100)
        .saturating_add(number(part))
}

fn memory_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn traffic(text: &str) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for line in text.lines().skip(2) {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        // Only traffic that leaves the guest counts, not loopback or a bridge of Docker's.
        if !name.trim().starts_with("eth") {
            continue;
        }
        let fields: Vec<u64> = rest
            .split_whitespace()
            .map(|it| it.parse().unwrap_or(0))
            .collect();
        sum.0 += fields.first().unwrap_or(&0);
        sum.1 += fields.get(8).unwrap_or(&0);
    }
    sum
}

/// The bytes that were read from the machine's disks and written to them, from sectors of 512 bytes
/// (fields 6 and 10): https://docs.kernel.org/admin-guide/iostats.html
fn disks(text: &str) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, name, _, _, read, _, _, _, written, ..] = fields[..] else {
            continue;
        };
        // A partition counts with its disk, and what is on top of disks with those below it.
        let is_disk = name.starts_with("vd") && !name.ends_with(|it: char| it.is_ascii_digit());
        if is_disk {
            let bytes = |sectors: &str| sectors.parse::<u64>().unwrap_or(0).saturating_mul(512);
            sum.0 = sum.0.saturating_add(bytes(read));
            sum.1 = sum.1.saturating_add(bytes(written));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_as_the_kernel_writes_them() {
        assert_eq!(busy_ticks("cpu  10 1 5 900 70 2 3 0 4 0\ncpu0 1"), 21);
        assert_eq!(busy_ticks(""), 0);
        assert_eq!(load("1.05 0.50 0.10 1/80 900\n"), 105);
        let memory = "MemTotal:  2048 kB\nMemFree: 9 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(memory_of(memory, "MemAvailable:"), 1 << 20);
        let dev = "Inter-| Receive\n face |bytes\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  \
                   eth0: 700 1 0 0 0 0 0 0 90 1 0 0 0 0 0 0\ndocker0: 8 1 0 0 0 0 0 0 8\n";
        assert_eq!(traffic(dev), (700, 90));
        let stats = "   7       0 loop0 1 0 99 0 0 0 99 0 0 0 0\n \
                     254       0 vda 90 0 10 4 70 0 3 9 0 5 6 0 0 0 0 0 0\n \
                     254       1 vda1 90 0 10 4 70 0 3 9 0 5 6\n \
                     254      16 vdb 1 0 2 0 1 0 1 0 0 0 0\n 253 0 dm-0 1 0 8 0 1 0 8 0 0 0 0\nshort\n";
        assert_eq!(disks(stats), (12 * 512, 4 * 512));
        assert_eq!(
            oom_kills("drop_slab 0\noom_kill 3\nballoon_inflate 1\n"),
            Some(3)
        );
        assert_eq!(oom_kills("drop_slab 0\n"), None);
    }

    #[test]
    fn this_machine_has_worked() {
        let usage = usage();
        assert!(usage.cpu_busy_millis > 0 && usage.memory_bytes > usage.memory_available_bytes);
    }
}
