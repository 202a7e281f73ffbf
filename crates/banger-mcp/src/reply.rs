//! The replies of tools.

use banger_api::Error;
use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;

/// The outcome of a tool. Both sides are results of the protocol, because an agent can read and
/// correct the error of a tool.
pub(crate) type Reply = Result<CallToolResult, CallToolResult>;

/// A JSON object.
pub(crate) fn object(value: &impl Serialize) -> Reply {
    match serde_json::to_value(value) {
        Ok(value) => Ok(CallToolResult::structured(value)),
        Err(cause) => Err(text_error(format!("error: write the answer: {cause}"))),
    }
}

/// Plain text.
pub(crate) fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

/// An error with its causes and hints.
pub(crate) fn error(error: &Error) -> CallToolResult {
    text_error(error.report())
}

fn text_error(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}
