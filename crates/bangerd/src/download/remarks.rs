//! The progress of a download, or of work on a file, in words for people.

use super::Progress;

/// The distance between two sizes, in bytes.
const STEP: u64 = 16 << 20;

/// The number of sizes that are told of a file of this host, which passes faster.
const TOLD: u64 = 10;

/// Turns progress into lines: each source, each remark, and sizes at intervals.
#[derive(Debug)]
pub(crate) struct Remarks {
    step: u64,
    next: u64,
    has_told_the_end: bool,
}

impl Default for Remarks {
    fn default() -> Self {
        Self::every(STEP)
    }
}

impl Remarks {
    fn every(step: u64) -> Self {
        Self {
            step,
            next: step,
            has_told_the_end: false,
        }
    }

    /// For a file of this host with this length, of which fewer sizes are told.
    pub(crate) fn of_file(length: u64) -> Self {
        Self::every(STEP.max(length.div_ceil(TOLD)))
    }

    /// The line for this progress, if there is one.
    pub(crate) fn line(&mut self, progress: Progress<'_>) -> Option<String> {
        match progress {
            Progress::Source(source) => Some(format!("from {source}")),
            Progress::Remark(remark) => Some(remark.to_owned()),
            Progress::Bytes { have, total } => {
                let is_end = total == Some(have) && have >> 20 > 0;
                if have < self.next && (!is_end || self.has_told_the_end) {
                    return None;
                }
                self.has_told_the_end = is_end;
                self.next = have + self.step;
                let have = have >> 20;
                Some(match total {
                    Some(total) => format!("{have} of {} MiB", total >> 20),
                    None => format!("{have} MiB"),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_at_intervals_and_at_the_end() {
        let mut remarks = Remarks::default();
        let total = Some(40 << 20);
        let told: Vec<String> = (1..=40)
            .filter_map(|mib| {
                let have = mib << 20;
                remarks.line(Progress::Bytes { have, total })
            })
            .collect();
        assert_eq!(told, ["16 of 40 MiB", "32 of 40 MiB", "40 of 40 MiB"]);
        let have = 40 << 20;
        assert_eq!(remarks.line(Progress::Bytes { have, total }), None);
        let (have, total) = (500, Some(500));
        let small = Remarks::default().line(Progress::Bytes { have, total });
        assert_eq!(small, None);
        assert_eq!(remarks.line(Progress::Remark("a")).unwrap(), "a");
    }

    #[test]
    fn of_a_file_ten_sizes_are_told() {
        let length = 10 << 30;
        let mut remarks = Remarks::of_file(length);
        let total = Some(length);
        let told = (1..=10 * 1024).filter_map(|mib| {
            let have = mib << 20;
            remarks.line(Progress::Bytes { have, total })
        });
        let told: Vec<String> = told.collect();
        assert_eq!(told.len(), 10);
        assert_eq!(told[0], "1024 of 10240 MiB");
    }
}
