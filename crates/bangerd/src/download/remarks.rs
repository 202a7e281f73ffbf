//! A download's progress in words, for people.

use super::Progress;

/// The distance between two sizes, in bytes.
const STEP: u64 = 16 << 20;

/// Turns progress into lines: each source, each remark, and sizes at intervals.
#[derive(Debug)]
pub(crate) struct Remarks {
    next: u64,
}

impl Default for Remarks {
    fn default() -> Self {
        Self { next: STEP }
    }
}

impl Remarks {
    /// The line for this progress, if there is one.
    pub(crate) fn line(&mut self, progress: Progress<'_>) -> Option<String> {
        match progress {
            Progress::Source(source) => Some(format!("from {source}")),
            Progress::Remark(remark) => Some(remark.to_owned()),
            Progress::Bytes { have, total } => {
                let is_end = total == Some(have) && have >> 20 > 0;
                if have < self.next && !is_end {
                    return None;
                }
                self.next = have + STEP;
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
        let (have, total) = (500, Some(500));
        let small = Remarks::default().line(Progress::Bytes { have, total });
        assert_eq!(small, None);
        assert_eq!(remarks.line(Progress::Remark("a")).unwrap(), "a");
    }
}
