//! Formats a line of the daemon's log for people.

use banger_api::LogLevel;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::output::{Colour, Output, clean};

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogLine {
    pub(super) at: Option<Timestamp>,
    pub(super) level: LogLevel,
    /// The VM that the line is about.
    pub(super) vm: Option<String>,
    /// The id of the request that caused it.
    pub(super) request: Option<String>,
    message: String,
    /// Its other fields, by name.
    fields: Map<String, Value>,
}

impl LogLine {
    /// Parses a line. A line that is not JSON, as a crash may leave, becomes the message.
    pub(super) fn read(text: &str) -> Self {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else {
            return Self {
                at: None,
                level: LogLevel::Error,
                vm: None,
                request: None,
                message: text.to_owned(),
                fields: Map::new(),
            };
        };
        let mut take = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        let at = take("timestamp").and_then(|it| it.parse().ok());
        let level = take("level").and_then(|it| it.to_lowercase().parse().ok());
        let (vm, message) = (take("vm"), take("message"));
        take("target");
        let span = fields.remove("span");
        let request = span.and_then(|span| Some(span.get("id")?.as_str()?.to_owned()));
        Self {
            at,
            // A level below debug is shown with it.
            level: level.unwrap_or(LogLevel::Debug),
            vm,
            request,
            message: message.unwrap_or_default(),
            fields,
        }
    }

    /// The text: time, level, VM, message, the other fields, and the request.
    pub(super) fn text(&self, zone: &TimeZone, output: Output) -> String {
        let at = self.at.map_or_else(
            || "-".repeat(23),
            |at| at.to_zoned(zone.clone()).strftime("%F %T.%3f").to_string(),
        );
        let colour = match self.level {
            LogLevel::Debug => Colour::Grey,
            LogLevel::Info => Colour::Green,
            LogLevel::Warn => Colour::Yellow,
            LogLevel::Error => Colour::Red,
        };
        let level = output.paint(colour, &format!("{:5}", self.level));
        let vm = self.vm.as_ref().map(|vm| format!("{vm}: "));
        let mut said = format!("{}{}", vm.unwrap_or_default(), self.message);
        // An error gets lines of its own.
        let (errors, fields): (Vec<_>, Vec<_>) = self.fields.iter().partition(|it| it.0 == "error");
        for (name, value) in fields.into_iter().chain(errors) {
            let value = match value {
                Value::String(text) => text.clone(),
                // A step of 0.0123456 s is printed as 0.012 s.
                Value::Number(number) if number.is_f64() => {
                    format!("{:.3}", number.as_f64().unwrap_or_default())
                }
                other => other.to_string(),
            };
            said += &format!(" {name}={value}");
        }
        // The text may contain a guest's output, so it is cleaned before it is coloured.
        let said = indented(&clean(&said));
        let request = self.request.as_ref().map(|id| {
            let id = format!(" [{}]", clean(id));
            output.paint(Colour::Grey, &id)
        });
        format!("{at} {level} {said}{}", request.unwrap_or_default())
    }
}

/// Indents the further lines of an error.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output {
        json: false,
        quiet: false,
        terminal: false,
        colour: false,
        unicode: false,
    };

    #[test]
    fn a_line_is_described_in_words() {
        let line = LogLine::read(
            r#"{"timestamp":"2026-11-26T12:00:01.123456Z","level":"ERROR","message":"failed","verb":"start","vm":"web","seconds":1.23456,"error":"error: no room\nhint: free some","target":"bangerd::engine","span":{"id":"00ff","name":"request"}}"#,
        );
        assert_eq!(
            line.text(&TimeZone::UTC, PLAIN),
            "2026-11-26 12:00:01.123 error web: failed seconds=1.235 verb=start error=error: no \
             room\n    hint: free some [00ff]"
        );
        assert_eq!(line.request.as_deref(), Some("00ff"));
    }

    #[test]
    fn what_is_no_json_is_shown_and_does_no_harm() {
        for text in ["half a li\u{1b}[2J", r#"{"message":"half a li\u001b[2J"}"#] {
            let text = LogLine::read(text).text(&TimeZone::UTC, PLAIN);
            assert!(text.ends_with("half a li\\u{1b}[2J"), "{text:?}");
        }
    }
}
