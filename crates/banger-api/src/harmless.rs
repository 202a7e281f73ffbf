//! Escapes text that may come from a guest, so that it is harmless for a terminal.
//!
//! A terminal obeys control characters, those of C1 (U+0080 to U+009F) like those of C0.
//! Bidirectional formatting makes it show text in another order than it is written, so that a name,
//! a path or a command can look like another (CVE-2021-42574).

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal may obey this character, or reorder the text around it.
#[must_use]
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Escapes the harmful characters of a text, except newlines and tabs.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Escapes the harmful characters in the strings of `json`, which must be valid JSON. Newlines
/// between values stay.
#[must_use]
pub fn json(json: &str) -> Cow<'_, str> {
    let needs_it = |character: char| is_harmful(character) && character != '\n';
    if !json.contains(needs_it) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        if needs_it(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The characters that reorder text or end a line, by the Unicode standard.
    const HARMFUL: &str = "\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\
        \u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{fff9}\u{e0001}\u{e0041}";

    #[test]
    fn what_a_terminal_would_obey_is_harmful_and_words_of_any_script_are_not() {
        assert!(HARMFUL.chars().all(is_harmful));
        assert!(!"é日本שלום مرحبا 🦦👩‍💻 ✓ →".chars().any(is_harmful));
        assert_eq!(
            visible("a\u{9b}2J\u{202e}b\n\tc"),
            "a\\u{9b}2J\\u{202e}b\n\tc"
        );
    }

    #[test]
    fn json_says_the_same_without_a_harmful_character() {
        let value = serde_json::json!({ "text": format!("é🦦{HARMFUL}\n\"\\"), "n": [1] });
        for text in [
            serde_json::to_string(&value).unwrap(),
            serde_json::to_string_pretty(&value).unwrap(),
        ] {
            let harmless = json(&text);
            assert!(!harmless.chars().any(|it| is_harmful(it) && it != '\n'));
            let read: serde_json::Value = serde_json::from_str(&harmless).unwrap();
            assert_eq!(read, value);
        }
        assert!(matches!(json("{\n  \"é\": 1\n}"), Cow::Borrowed(_)));
    }
}
