//! A filter for a guest's console on the user's terminal.
//!
//! The guest's root controls every byte, and terminals execute some of them: they move the cursor,
//! set the title, or answer as if the user had typed. Colours, newlines, carriage returns and tabs
//! pass; all other control characters are removed, and so are those that reorder text.
//! Output to a file or a pipe is unmodified.

use banger_api::harmless::is_harmful;

/// The position in an escape sequence (ECMA-48, 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside: text.
    Text,
    /// After ESC.
    Escape,
    /// After ESC and intermediate characters, before the final one.
    Intermediate,
    /// In a control sequence, `ESC [ …`.
    Control,
    /// In a control string, `ESC ] … BEL`; its number of characters so far.
    String(u16),
    /// After ESC within a control string.
    StringEscape,
}

/// The longest control string; after that, text is shown again.
const LONGEST_STRING: u16 = 4096;
/// The longest control sequence.
const LONGEST_SEQUENCE: usize = 64;

/// The filter. Sequences may be split between two chunks anywhere.
#[derive(Debug)]
pub(crate) struct Filter {
    state: State,
    /// The parameters of a control sequence so far.
    sequence: String,
    /// The incomplete character at the end of a chunk.
    partial: Vec<u8>,
    /// Whether a colour may still be on.
    coloured: bool,
}

impl Filter {
    /// A filter at the beginning of text.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Text,
            sequence: String::new(),
            partial: Vec::new(),
            coloured: false,
        }
    }

    /// Filters the next chunk.
    pub(crate) fn pass(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(piece);
        let mut passed = String::with_capacity(bytes.len());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.pass_text(text, &mut passed);
                    break;
                }
                Err(wrong) => {
                    let (valid, after) = rest.split_at(wrong.valid_up_to());
                    self.pass_text(&String::from_utf8_lossy(valid), &mut passed);
                    let Some(length) = wrong.error_len() else {
                        self.partial = after.to_vec();
                        break;
                    };
                    self.pass_text("\u{fffd}", &mut passed);
                    rest = &after[length..];
                }
            }
        }
        passed
    }

    /// Ends the text: resets the colours if they may have changed.
    pub(crate) fn end(&self) -> &'static str {
        if self.coloured { "\x1b[0m" } else { "" }
    }

    fn pass_text(&mut self, text: &str, passed: &mut String) {
        for character in text.chars() {
            self.state = self.next(character, passed);
        }
    }

    fn next(&mut self, character: char, passed: &mut String) -> State {
        let in_string = matches!(self.state, State::String(_) | State::StringEscape);
        match (self.state, character) {
            // A new sequence can begin anywhere, and the end of a line ends a broken one.
            (State::String(_), '\x1b') => State::StringEscape,
            (_, '\x1b') => State::Escape,
            (_, '\n') => {
                passed.push('\n');
                State::Text
            }
            (State::StringEscape, '\\') => State::Text,
            (State::String(length), '\x07') if length <= LONGEST_STRING => State::Text,
            (State::String(length), _) if length < LONGEST_STRING => State::String(length + 1),
            _ if in_string => State::Text,
            (State::Text, _) => {
                if !is_harmful(character) || matches!(character, '\r' | '\t') {
                    passed.push(character);
                }
                State::Text
            }
            (State::Escape, '[') => {
                self.sequence.clear();
                State::Control
            }
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::String(0),
            (State::Escape | State::Intermediate, ' '..='/') => State::Intermediate,
            (State::Control, ' '..='?') if self.sequence.len() < LONGEST_SEQUENCE => {
                self.sequence.push(character);
                State::Control
            }
            (State::Control, 'm') => {
                self.pass_colour(passed);
                State::Text
            }
            _ => State::Text,
        }
    }

    fn pass_colour(&mut self, passed: &mut String) {
        if self
            .sequence
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ';' | ':'))
        {
            self.coloured = !matches!(self.sequence.as_str(), "" | "0");
            *passed += "\x1b[";
            *passed += &self.sequence;
            passed.push('m');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(text: &str) -> String {
        Filter::new().pass(text.as_bytes())
    }

    #[test]
    fn text_colours_and_line_ends_pass() {
        let boot =
            "[\u{1b}[0;1;32m  OK  \u{1b}[0m] Started \u{1b}[38:5:1mé\u{1b}[m.\r\n\tok 日本\n";
        assert_eq!(pass(boot), boot);
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        for (evil, harmless) in [
            ("a\u{1b}[2Jb", "ab"),
            ("a\u{1b}[?1049hb\u{1b}[?7l", "ab"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]52;c;cm0gLXJm\u{1b}\\b", "ab"),
            ("a\u{1b}Pq...\u{1b}\\b", "ab"),
            ("a\u{1b}cb\u{1b}(0c\u{1b}#8d", "abcd"),
            ("a\u{9b}2Jb", "a2Jb"),
            ("a\u{202e}b\u{2066}c\u{2069}\u{200f}", "abc"),
            ("a\u{7}\u{8}\u{0}\u{7f}b", "ab"),
            ("a\u{1b}[6nb\u{1b}[>cb", "abb"),
            ("a\u{1b}[>4;2mb", "ab"),
            ("\u{1b}\u{1b}[31mx", "\u{1b}[31mx"),
        ] {
            assert_eq!(pass(evil), harmless, "{evil:?}");
        }
    }

    #[test]
    fn a_sequence_without_an_end_hides_no_more_than_its_line() {
        assert_eq!(pass("a\u{1b}]0;never\nb"), "a\nb");
        assert_eq!(pass("a\u{1b}[31\nb"), "a\nb");
        let long = format!("\u{1b}]{}seen", "x".repeat(LONGEST_STRING.into()));
        assert!(
            pass(&long).ends_with("seen") || pass(&long).ends_with("een"),
            "it is shown again"
        );
    }

    #[test]
    fn pieces_may_be_cut_anywhere() {
        let text = "é\u{1b}[1;31mrot\u{1b}[0m 🦦\u{1b}]0;t\u{7}\u{1b}[2Jend\n".as_bytes();
        let whole = Filter::new().pass(text);
        for cut in 0..text.len() {
            let mut filter = Filter::new();
            let mut parts = filter.pass(&text[..cut]);
            parts += &filter.pass(&text[cut..]);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(Filter::new().pass(b"a\xff\x9b2Jb"), "a\u{fffd}\u{fffd}2Jb");
    }

    #[test]
    fn the_end_puts_the_colours_back_when_the_guest_left_one_on() {
        let mut filter = Filter::new();
        filter.pass(b"\x1b[31mred");
        assert_eq!(filter.end(), "\x1b[0m");
        filter.pass(b"\x1b[0mplain");
        assert_eq!(filter.end(), "");
    }
}
