//! A list that is asked for, and not pushed.

use banger_api::Error;

/// A list that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct List<T> {
    /// What came; nothing before the first answer.
    pub(crate) items: Option<Vec<T>>,
    /// Why the last answer is an error.
    pub(crate) error: Option<Error>,
    /// The line under the cursor.
    pub(crate) at: usize,
    /// Whether an answer is awaited.
    pub(crate) asked: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            items: None,
            error: None,
            at: 0,
            asked: false,
        }
    }
}

impl<T> List<T> {
    /// Takes an answer in.
    pub(super) fn take(&mut self, answer: Result<Vec<T>, Error>) {
        self.asked = false;
        match answer {
            Ok(items) => {
                self.at = self.at.min(items.len().saturating_sub(1));
                self.items = Some(items);
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
    }

    /// The one under the cursor.
    pub(crate) fn selected(&self) -> Option<&T> {
        self.items.as_ref()?.get(self.at)
    }

    /// Moves the cursor by so many lines, and not beyond an end.
    pub(super) fn move_by(&mut self, lines: isize) {
        let last = self.items.as_ref().map_or(0, Vec::len).saturating_sub(1);
        self.at = self.at.saturating_add_signed(lines).min(last);
    }
}
