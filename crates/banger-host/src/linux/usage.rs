//! The resource usage of a process, from `/proc`.

use std::fs;

use crate::ProcessUsage;

/// The kernel reports CPU time in hundredths of a second, on every architecture.
const MILLIS_PER_TICK: u64 = 10;

/// The usage of the process with this id; `None` if it does not exist.
pub(super) fn of(pid: u32) -> Option<ProcessUsage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // Only root and the process's own user may read this.
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    Some(ProcessUsage {
        cpu_millis: ticks(&stat)? * MILLIS_PER_TICK,
        resident_bytes: kib(&status, "VmRSS:").unwrap_or(0) * 1024,
        pss_bytes: rollup.and_then(|text| Some(kib(&text, "Pss:")? * 1024)),
    })
}

/// utime and stime: fields 14 and 15 in proc_pid_stat(5). The name before them may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_move_its_times() {
        let stat = "7 (a) 1 (b) S 1 7 7 0 -1 4 9 0 0 0 120 30 0 0 20 0 1 0 5 6";
        assert_eq!(ticks(stat), Some(150));
        assert_eq!(ticks("7 (x"), None);
    }

    #[test]
    fn this_process_uses_memory_and_one_that_is_not_there_nothing() {
        let ours = of(std::process::id()).unwrap();
        let pss = ours.pss_bytes.unwrap();
        assert!(pss > 0 && pss <= ours.resident_bytes, "{ours:?}");
        assert_eq!(of(u32::MAX), None);
    }
}
