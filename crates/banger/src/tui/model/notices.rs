//! Messages to the user: the newest for a while at the bottom, all of them on demand.

use std::collections::VecDeque;

use banger_api::Error;
use jiff::{SignedDuration, Timestamp};
use ratatui::text::Span;

/// The most messages that are kept.
const MOST: usize = 200;
/// How long good news stands at the bottom.
const GOOD: SignedDuration = SignedDuration::from_secs(5);
/// How long an error stands there.
const BAD: SignedDuration = SignedDuration::from_secs(20);

/// The width of a message's time before its text.
pub(crate) const TIME: usize = 9;

/// How a message is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Something is done.
    Good,
    /// Something is to be known.
    Warning,
    /// Something has failed.
    Bad,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) at: Timestamp,
    pub(crate) tone: Tone,
    /// It in one line.
    pub(crate) line: String,
    /// It as a whole: with causes and hints.
    pub(crate) whole: String,
}

/// A message's row on the screen.
#[derive(Debug)]
pub(crate) struct NoticeRow<'n> {
    pub(crate) notice: &'n Notice,
    /// Whether it is the message's first, which has its time.
    pub(crate) is_first: bool,
    /// Harmless text.
    pub(crate) text: String,
}

/// A line in rows that are not wider than `width`, broken between words where that is possible.
pub(crate) fn wrapped(line: &str, width: usize) -> Vec<String> {
    let line = banger_api::harmless::visible(line).replace('\t', " ");
    let wide = |text: &str| Span::raw(text).width();
    let mut rows = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let last = rows.last().map_or(0, |it| wide(it));
        if last > 0 && last + wide(word.trim_end()) > width {
            rows.push(String::new());
        }
        for character in word.chars() {
            let is_full = rows.last().is_some_and(|it| wide(it) >= width);
            if is_full && character != ' ' {
                rows.push(String::new());
            }
            if let Some(row) = rows.last_mut() {
                row.push(character);
            }
        }
    }
    rows
}

/// The messages, newest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices {
    all: VecDeque<Notice>,
    /// Until when the newest stands at the bottom.
    until: Option<Timestamp>,
}

impl Notices {
    /// Tells something in one line.
    pub(crate) fn say(&mut self, tone: Tone, line: impl Into<String>, now: Timestamp) {
        let line = line.into();
        let whole = line.clone();
        self.add(
            Notice {
                at: now,
                tone,
                line,
                whole,
            },
            now,
        );
    }

    /// Tells an error: its first line, and `whole` on demand.
    pub(crate) fn fail(&mut self, error: &Error, whole: String, now: Timestamp) {
        let cause = error.causes.last().map(|it| format!(": {it}"));
        let line = format!("{}{}", error.message, cause.unwrap_or_default());
        let line = line.lines().next().unwrap_or_default().to_owned();
        let tone = Tone::Bad;
        self.add(
            Notice {
                at: now,
                tone,
                line,
                whole,
            },
            now,
        );
    }

    fn add(&mut self, notice: Notice, now: Timestamp) {
        // Good news does not hide an error that has just come.
        let hides = match self.standing(now) {
            Some(standing) => notice.tone != Tone::Good || standing.tone != Tone::Bad,
            None => true,
        };
        if hides {
            let stays = if notice.tone == Tone::Good { GOOD } else { BAD };
            self.until = now.checked_add(stays).ok();
            self.all.push_front(notice);
        } else {
            self.all.insert(1, notice);
        }
        self.all.truncate(MOST);
    }

    /// The message that stands at the bottom now.
    pub(crate) fn standing(&self, now: Timestamp) -> Option<&Notice> {
        let newest = self.all.front()?;
        (now < self.until?).then_some(newest)
    }

    /// Takes it away; false where there was none.
    pub(crate) fn dismiss(&mut self, now: Timestamp) -> bool {
        let stood = self.standing(now).is_some();
        self.until = None;
        stood
    }

    /// All of them in rows of this width, newest first.
    pub(crate) fn rows(&self, width: usize) -> Vec<NoticeRow<'_>> {
        let width = width.saturating_sub(TIME).max(1);
        let mut rows = Vec::new();
        for notice in &self.all {
            let lines = notice.whole.lines().flat_map(|it| wrapped(it, width));
            rows.extend(lines.enumerate().map(|(at, text)| NoticeRow {
                notice,
                is_first: at == 0,
                text,
            }));
        }
        rows
    }

    /// All of them, newest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Notice> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banger_api::Code;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_message_stands_for_a_while_and_is_kept() {
        let mut notices = Notices::default();
        notices.say(Tone::Good, "web is running", at(0));
        assert!(notices.standing(at(4)).is_some());
        assert_eq!(notices.standing(at(5)), None);
        assert_eq!(notices.all().count(), 1);
    }

    #[test]
    fn an_error_is_not_hidden_by_good_news_and_is_told_whole_on_demand() {
        let mut notices = Notices::default();
        let error = Error::new(Code::Host, "start `web`")
            .cause("no room")
            .hint("make room");
        notices.fail(&error, error.report(), at(0));
        notices.say(Tone::Good, "db is running", at(1));
        let standing = notices.standing(at(2)).unwrap();
        assert_eq!(standing.line, "start `web`: no room");
        assert_eq!(standing.whole, error.report());
        // It hides a warning, which nobody waits for.
        let mut warned = Notices::default();
        warned.say(Tone::Warning, "it has no address", at(0));
        warned.say(Tone::Good, "copied", at(1));
        assert_eq!(warned.standing(at(2)).unwrap().line, "copied");
        assert!(notices.dismiss(at(2)));
        assert!(!notices.dismiss(at(2)));
    }

    #[test]
    fn a_long_line_is_broken_between_words_and_a_long_word_where_it_must_be() {
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("one two three", 7), ["one two ", "three"]);
        assert_eq!(wrapped("abcdefgh ij", 3), ["abc", "def", "gh ", "ij"]);
        assert_eq!(wrapped("日本語", 4), ["日本", "語"], "two columns each");
    }
}
