//! The errors of a bundle: errors of the API with the code `host`.

use banger_api::{Code, Error};

/// The command that repairs a bundle.
pub(super) const REBUILD: &str = "banger bundle build";

/// An error of this host.
pub(super) fn failure(message: impl Into<String>) -> Error {
    Error::new(Code::Host, message)
}

/// An error of this host, with its cause and the causes below that.
pub(super) fn failure_caused_by(
    message: impl Into<String>,
    cause: impl std::error::Error,
) -> Error {
    let mut error = failure(message).cause(cause.to_string());
    let mut source = cause.source();
    while let Some(cause) = source {
        error = error.cause(cause.to_string());
        source = cause.source();
    }
    error
}

/// A part has another size than the manifest records, in bytes.
pub(super) fn wrong_size(name: &str, found: u64, recorded: u64) -> Error {
    failure(format!(
        "the bundle's `{name}` is damaged: {found} bytes instead of {recorded}"
    ))
    .hint(REBUILD)
}

/// A part has another digest than the manifest records.
pub(super) fn wrong_digest(name: &str) -> Error {
    failure(format!(
        "the bundle's `{name}` is damaged: its digest differs from the recorded one"
    ))
    .hint(REBUILD)
}
