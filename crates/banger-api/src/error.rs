//! The API's error: a code for programs, a message and hints for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of an error, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The named object does not exist.
    NotFound,
    /// The request is malformed, or a value is out of range.
    Invalid,
    /// The request conflicts with the current state.
    Conflict,
    /// Another operation holds the VM.
    Busy,
    /// A requirement is not met: a check fails.
    NotReady,
    /// An operation on the host failed.
    Host,
    /// An operation in the guest failed.
    Guest,
    /// A bug in banger.
    Internal,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not-found",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
            Self::NotReady => "not-ready",
            Self::Host => "host",
            Self::Guest => "guest",
            Self::Internal => "internal",
        })
    }
}

/// An error with its causes and hints; [`Error::report`] prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Error {
    /// The kind of the error.
    pub code: Code,
    /// The operation that failed, or the failure itself.
    pub message: String,
    /// Commands to type, or facts to check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Further errors, such as those of the cleanup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl Error {
    /// An error without causes or hints.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hints: Vec::new(),
            also: Vec::new(),
            causes: Vec::new(),
        }
    }

    /// Adds a hint: a command to type, or a fact to check.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
        self
    }

    /// Adds a cause below the existing ones.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Puts a message above the error, which becomes its first cause.
    #[must_use]
    pub fn within(mut self, message: impl Into<String>) -> Self {
        let below = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, below);
        self
    }

    /// The text for a person: the message, its causes, further errors, and hints.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = format!("error: {}", self.message);
        for cause in &self.causes {
            text += &format!("\n  caused by: {}", indented(cause));
        }
        for also in &self.also {
            text += &format!("\n  also: {}", indented(also));
        }
        for hint in &self.hints {
            text += &format!("\nhint: {}", indented(hint));
        }
        text
    }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_the_chain_and_then_the_hints() {
        let error = Error::new(Code::Host, "reflink: the file system does not support it")
            .within("attach overlay `vms/aa12bb34/root.img`")
            .within("start `calm-otter`")
            .hint("set `root_disk = \"copy\"` in ~/.config/banger/config.toml");
        assert_eq!(
            error.report(),
            "error: start `calm-otter`\n  caused by: attach overlay `vms/aa12bb34/root.img`\n  \
             caused by: reflink: the file system does not support it\n\
             hint: set `root_disk = \"copy\"` in ~/.config/banger/config.toml"
        );
    }
}
