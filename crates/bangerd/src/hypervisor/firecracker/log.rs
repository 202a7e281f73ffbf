//! The last errors of a Firecracker, from its log and its standard error.
//!
//! A line of the log is `2026-11-24T11:39:10.123456789 [id:thread:ERROR] text` with the arguments
//! that banger passes (its `docs/logger.md`). The guest's output is in neither file.

use banger_host::Host;

use crate::layout::{VmLayout, machine};

/// The size of the tail that is read, in bytes.
const TAIL: u64 = 8 << 10;

/// The number of lines reported.
const LINES: usize = 3;

/// The last errors of this machine's Firecracker.
pub(super) fn last_words(layout: &VmLayout, host: &dyn Host) -> Option<String> {
    let complaints = tail(layout, machine::HYPERVISOR_LOG, host);
    let complaints: Vec<String> = complaints.lines().filter_map(complaint).collect();
    if !complaints.is_empty() {
        return Some(last(&complaints));
    }
    let errors = tail(layout, machine::HYPERVISOR_ERRORS, host);
    let errors: Vec<String> = errors
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    (!errors.is_empty()).then(|| last(&errors))
}

fn tail(layout: &VmLayout, name: &str, host: &dyn Host) -> String {
    let path = layout.in_machine(name);
    let length = host.stat(&path).ok().flatten().map_or(0, |it| it.length);
    let begin = length.saturating_sub(TAIL);
    let bytes = host.read_at(&path, begin, usize::try_from(TAIL).unwrap_or(usize::MAX));
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

fn last(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

/// The text of a line that reports an error. Warnings do not count: a healthy boot logs dozens, one
/// for each absent device that the guest probes.
fn complaint(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" [")?;
    let (origin, text) = rest.split_once("] ")?;
    let level = origin.rsplit(':').next()?;
    // The message about its exit does not explain the exit.
    let telling = !text.starts_with("Firecracker exiting");
    (level == "ERROR" && telling).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complaints_are_last_words() {
        let error = "2026-11-24T11:39:10.123456789 [banger-1-00ff-aa12bb34:fc_vcpu 0:ERROR] \
                     Unexpected exit reason on vcpu run: Shutdown";
        assert_eq!(
            complaint(error).as_deref(),
            Some("Unexpected exit reason on vcpu run: Shutdown")
        );
        for other in [
            "2026-11-24T11:39:10.1 [a:main:INFO] Running Firecracker v1.17.0",
            "2026-11-24T11:39:10.1 [a:fc_vcpu 0:WARN] vcpu: IO write @ 0xcf8:0x4 failed",
            "2026-11-24T11:39:10.1 [a:main:ERROR] Firecracker exiting with error. exit_code=1",
            "half a line",
            "",
        ] {
            assert_eq!(complaint(other), None, "{other}");
        }
    }
}
