//! What a registry says of an error.

use banger_api::harmless;
use serde::Deserialize;

#[derive(Deserialize)]
struct ErrorAnswer {
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The first message of a registry's error.
pub(super) fn of(text: &[u8]) -> Option<String> {
    let answer: ErrorAnswer = serde_json::from_slice(text).ok()?;
    let first = answer.errors.into_iter().next()?;
    let said = if first.message.is_empty() {
        first.code
    } else {
        first.message
    };
    let said: String = harmless::visible(&said).chars().take(200).collect();
    (!said.is_empty()).then_some(said)
}
