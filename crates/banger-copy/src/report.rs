//! What became of a copy, as each side tells the other.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// The most problems that are told; the others are counted.
const MOST_PROBLEMS: usize = 32;

/// The longest text in a problem, in bytes.
const LONGEST_TEXT: usize = 512;

/// What one side did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Files.
    pub files: u64,
    /// Directories that are new.
    pub directories: u64,
    /// Symbolic and hard links.
    pub links: u64,
    /// The bytes of the files, holes included.
    pub bytes: u64,
    /// Devices, sockets and pipes, which are not copied.
    pub skipped: u64,
    /// Files that changed while they were read.
    pub changed: u64,
    /// What was removed.
    pub removed: u64,
    /// Entries whose permissions or time alone were set.
    pub touched: u64,
    /// Bytes that were there from an earlier copy.
    pub resumed: u64,
    /// The number of problems.
    pub failed: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
    /// Why this side ended the copy before its end.
    pub stopped: Option<String>,
}

/// An entry that could not be copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The path, below the source.
    pub path: String,
    /// The reason, in words.
    pub reason: String,
}

impl Report {
    /// Adds a problem.
    pub fn problem(&mut self, path: &dyn Display, reason: &str) {
        self.failed = self.failed.saturating_add(1);
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem {
                path: cut(&path.to_string()),
                reason: cut(reason),
            });
        }
    }

    /// Adds what the other side reports of its own work: what failed, was skipped or changed.
    pub fn add_troubles_of(&mut self, other: &Self) {
        for (count, more) in [
            (&mut self.skipped, other.skipped),
            (&mut self.changed, other.changed),
            (&mut self.failed, other.failed),
        ] {
            // The other side may claim any number.
            *count = count.saturating_add(more);
        }
        let room = MOST_PROBLEMS.saturating_sub(self.problems.len());
        let more = other.problems.iter().take(room).map(|it| Problem {
            path: cut(&it.path),
            reason: cut(&it.reason),
        });
        self.problems.extend(more);
    }

    /// The JSON of it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_the_other_side_is_too_large() {
        let mut own = Report::default();
        own.problem(&"file", "a reason");
        let theirs = Report {
            failed: u64::MAX,
            changed: u64::MAX,
            ..Report::default()
        };
        own.add_troubles_of(&theirs);
        own.add_troubles_of(&theirs);
        own.problem(&"file", "a reason");
        assert_eq!((own.failed, own.changed), (u64::MAX, u64::MAX));
    }
}
