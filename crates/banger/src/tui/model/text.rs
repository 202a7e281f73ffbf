//! Text that scrolls: a console or a log as it grows, the newest lines kept.

use std::collections::VecDeque;

/// The most lines that are kept.
const MOST_LINES: usize = 20_000;
/// The most bytes that are kept.
const MOST_BYTES: usize = 8 << 20;
/// The longest line, in bytes; a longer one goes on in the next.
const LONGEST_LINE: usize = 4096;

/// Lines with a cursor. Lines have numbers that stay theirs when older ones go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    lines: VecDeque<String>,
    bytes: usize,
    /// How many lines have gone.
    dropped: usize,
    /// Whether the last line has not ended.
    open: bool,
    /// After a carriage return: what follows replaces the line.
    returned: bool,
    cursor: usize,
    /// The line on top of the screen.
    top: usize,
    /// Columns that are scrolled away to the left.
    left: usize,
    follow: bool,
    anchor: Option<usize>,
    search: String,
}

impl Text {
    /// Nothing yet, and the end is followed.
    pub(crate) fn new() -> Self {
        Self {
            follow: true,
            ..Self::default()
        }
    }

    /// Adds text; a line may come in pieces.
    pub(crate) fn add(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            let (content, ends) = match piece.strip_suffix('\n') {
                Some(content) => (content.strip_suffix('\r').unwrap_or(content), true),
                None => (piece, false),
            };
            self.extend(content);
            if ends && !self.open {
                self.lines.push_back(String::new());
            }
            self.open &= !ends;
            self.returned &= !ends;
        }
        self.shrink();
        if self.follow {
            self.cursor = self.end();
        }
    }

    fn extend(&mut self, content: &str) {
        for (at, part) in content.split('\r').enumerate() {
            self.returned |= at > 0;
            if part.is_empty() {
                continue;
            }
            if self.open && self.returned {
                let old = self.lines.back_mut().map(std::mem::take);
                self.bytes -= old.map_or(0, |it| it.len());
            }
            self.returned = false;
            self.append(&part.replace('\t', "    "));
        }
    }

    fn append(&mut self, mut rest: &str) {
        while !rest.is_empty() {
            if !self.open {
                self.lines.push_back(String::new());
                self.open = true;
            }
            let Some(line) = self.lines.back_mut() else {
                return;
            };
            let mut room = LONGEST_LINE.saturating_sub(line.len()).min(rest.len());
            while !rest.is_char_boundary(room) {
                room -= 1;
            }
            if room == 0 {
                self.open = false;
                continue;
            }
            line.push_str(&rest[..room]);
            self.bytes += room;
            rest = &rest[room..];
        }
    }

    fn shrink(&mut self) {
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            let Some(line) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= line.len();
            self.dropped += 1;
        }
        self.cursor = self.cursor.max(self.dropped);
        self.anchor = self.anchor.map(|it| it.max(self.dropped));
    }

    /// The number of the last line.
    fn end(&self) -> usize {
        (self.dropped + self.lines.len()).saturating_sub(1)
    }

    /// How many lines are kept.
    pub(crate) fn count(&self) -> usize {
        self.lines.len()
    }

    /// How many older lines have gone.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped
    }

    /// Whether the end is followed.
    pub(crate) fn is_following(&self) -> bool {
        self.follow
    }

    /// Follows the end from now on, or no longer.
    pub(crate) fn set_follow(&mut self, follow: bool) {
        self.follow = follow;
        if follow {
            self.cursor = self.end();
        }
    }

    /// Moves the cursor. Moving up stops following; reaching the end does not begin it.
    pub(crate) fn move_by(&mut self, lines: isize) {
        if lines < 0 {
            self.follow = false;
        }
        let moved = self.cursor.saturating_add_signed(lines);
        self.cursor = moved.clamp(self.dropped, self.end().max(self.dropped));
    }

    /// Goes to the first line that is kept.
    pub(crate) fn first(&mut self) {
        self.follow = false;
        self.cursor = self.dropped;
    }

    /// Goes to the end, and follows it.
    pub(crate) fn last(&mut self) {
        self.set_follow(true);
    }

    /// Scrolls sideways.
    pub(crate) fn move_sideways(&mut self, columns: isize) {
        self.left = self.left.saturating_add_signed(columns).min(LONGEST_LINE);
    }

    /// Columns that are scrolled away to the left.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Searches forward from the cursor for the words; not found, it stays. Empty ends the search.
    pub(crate) fn search(&mut self, words: &str) -> bool {
        words.clone_into(&mut self.search);
        words.is_empty() || self.jump(0, true)
    }

    /// What is searched for; empty where nothing is.
    pub(crate) fn searched(&self) -> &str {
        &self.search
    }

    /// Goes to the next match, or the previous one; around the end.
    pub(crate) fn next_match(&mut self, forward: bool) -> bool {
        self.jump(1, forward)
    }

    fn jump(&mut self, skip: usize, forward: bool) -> bool {
        let count = self.lines.len();
        if self.search.is_empty() || count == 0 {
            return false;
        }
        let wanted = self.search.to_lowercase();
        let at = self.cursor - self.dropped;
        let found = (skip..=count).find_map(|step| {
            let line = if forward {
                (at + step) % count
            } else {
                (at + 2 * count - step) % count
            };
            self.lines[line]
                .to_lowercase()
                .contains(&wanted)
                .then_some(line)
        });
        if let Some(line) = found {
            self.follow = false;
            self.cursor = self.dropped + line;
        }
        found.is_some()
    }

    /// Marks the line under the cursor as one end of what is copied, or no longer.
    pub(crate) fn toggle_anchor(&mut self) {
        self.anchor = match self.anchor {
            Some(_) => None,
            None => Some(self.cursor),
        };
        self.follow = false;
    }

    /// Takes mark and search away; false where there were none.
    pub(crate) fn clear(&mut self) -> bool {
        let had = self.anchor.is_some() || !self.search.is_empty();
        self.anchor = None;
        self.search.clear();
        had
    }

    /// The marked lines, or the one under the cursor; all of them if `all`.
    pub(crate) fn copied(&mut self, all: bool) -> Vec<String> {
        let anchor = self.anchor.take().unwrap_or(self.cursor);
        let (from, to) = if all {
            (self.dropped, self.end())
        } else {
            (anchor.min(self.cursor), anchor.max(self.cursor))
        };
        let from = from.saturating_sub(self.dropped);
        let count = (to + 1).saturating_sub(self.dropped + from);
        self.lines.iter().skip(from).take(count).cloned().collect()
    }

    /// Scrolls so that the cursor is on a screen of this height.
    pub(crate) fn fit(&mut self, height: usize) {
        let height = height.max(1);
        let lowest = self.cursor.saturating_sub(height - 1);
        self.top = self.top.clamp(lowest, self.cursor.max(lowest));
        let last_top = (self.dropped + self.lines.len()).saturating_sub(height);
        self.top = self.top.min(last_top.max(self.dropped)).max(self.dropped);
    }

    /// The lines of a screen of this height: each with whether the cursor is on it and whether it is
    /// marked.
    pub(crate) fn screen(&self, height: usize) -> impl Iterator<Item = (&str, bool, bool)> {
        let marked = self
            .anchor
            .map(|it| it.min(self.cursor)..=it.max(self.cursor));
        let skip = self.top.saturating_sub(self.dropped);
        let lines = self.lines.iter().enumerate().skip(skip).take(height);
        lines.map(move |(at, line)| {
            let number = at + self.dropped;
            let is_marked = marked.as_ref().is_some_and(|it| it.contains(&number));
            (line.as_str(), number == self.cursor, is_marked)
        })
    }

    /// The lines as a whole.
    #[cfg(test)]
    fn all(&self) -> Vec<&str> {
        self.lines.iter().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: usize) -> Text {
        let mut text = Text::new();
        for line in 0..lines {
            text.add(&format!("line {line}\n"));
        }
        text
    }

    fn under_cursor(text: &mut Text) -> String {
        text.copied(false).join("\n")
    }

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let whole = "one\ntwo\n\nthree\rfour\r\nfive\tsix\n";
        for length in 1..whole.len() {
            let mut text = Text::new();
            for piece in whole.as_bytes().chunks(length) {
                text.add(std::str::from_utf8(piece).unwrap());
            }
            assert_eq!(
                text.all(),
                ["one", "two", "", "four", "five    six"],
                "{length}"
            );
        }
    }

    #[test]
    fn what_is_kept_has_an_end_and_what_is_not_is_counted() {
        // k9s kept 30 GB of logs, and dropped lines without a word.
        let mut text = of(MOST_LINES + 10);
        assert_eq!((text.count(), text.dropped()), (MOST_LINES, 10));
        text.first();
        assert_eq!(under_cursor(&mut text), "line 10");
        let mut long = Text::new();
        for _ in 0..3000 {
            long.add(&"x".repeat(LONGEST_LINE + 1));
        }
        assert!(long.bytes <= MOST_BYTES && long.dropped() > 0);
        assert!(long.all().iter().all(|line| line.len() <= LONGEST_LINE));
    }

    #[test]
    fn scrolling_up_stops_following_and_new_lines_do_not_pull_back() {
        // k9s#732: following fights scrolling.
        let mut text = of(100);
        assert!(text.is_following());
        text.move_by(-5);
        assert!(!text.is_following());
        text.add("more\n");
        assert_eq!(under_cursor(&mut text), "line 94");
        text.last();
        assert!(text.is_following());
        assert_eq!(under_cursor(&mut text), "more");
    }

    #[test]
    fn search_goes_around_in_both_directions() {
        let mut text = of(30);
        text.first();
        assert!(text.search("LINE 2"));
        let mut found = vec![under_cursor(&mut text)];
        for _ in 0..11 {
            assert!(text.next_match(true));
            found.push(under_cursor(&mut text));
        }
        assert_eq!(
            found.first(),
            found.last(),
            "after eleven matches the first again"
        );
        assert!(text.next_match(false));
        assert_eq!(under_cursor(&mut text), "line 29");
        assert!(!text.search("nowhere"));
        assert_eq!(under_cursor(&mut text), "line 29", "it stays");
    }

    #[test]
    fn marked_lines_are_copied_in_their_order() {
        let mut text = of(10);
        text.first();
        text.move_by(4);
        text.toggle_anchor();
        text.move_by(-2);
        assert_eq!(text.copied(false), ["line 2", "line 3", "line 4"]);
        assert_eq!(text.copied(false), ["line 2"], "the mark is gone");
        assert_eq!(text.copied(true).len(), 10);
    }

    #[test]
    fn the_cursor_is_always_on_the_screen() {
        let mut text = of(100);
        for (moves, height) in [
            (0, 10),
            (-30, 10),
            (5, 10),
            (100, 3),
            (-200, 7),
            (0, 200),
            (0, 0),
        ] {
            text.move_by(moves);
            text.fit(height);
            let on_screen = text.screen(height.max(1)).filter(|it| it.1).count();
            assert_eq!(on_screen, 1, "{moves} {height}");
        }
    }
}
