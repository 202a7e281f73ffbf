//! A position in a file, as editors count.

use std::fmt;

/// The maximum length of a quoted line, in characters.
const SHOWN: usize = 100;

/// A line and a column, both from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    line: usize,
    column: usize,
    /// The beginning of the line, in bytes.
    start: usize,
}

impl Position {
    /// The position of the byte at `offset`, or the end of the file if it is shorter.
    pub(super) fn at(bytes: &[u8], offset: usize) -> Self {
        let before = &bytes[..offset.min(bytes.len())];
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        Self {
            line,
            column,
            start,
        }
    }

    /// The line, from 1.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The line itself in backticks, truncated if it is long.
    pub(super) fn quoted_line(&self, text: &str) -> String {
        let line = text[self.start..].lines().next().unwrap_or_default().trim();
        let short: String = line.chars().take(SHOWN).collect();
        let dots = if short.len() < line.len() { "…" } else { "" };
        format!("`{short}{dots}`")
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
