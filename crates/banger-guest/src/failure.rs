//! An error inside the guest: a chain of messages, the outermost first.

use std::fmt;

/// A chain of what was being done, and the reason why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    chain: Vec<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(cause: impl fmt::Display) -> Self {
        Self {
            chain: vec![words(&cause)],
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outermost_first: Vec<&str> = self.chain.iter().rev().map(String::as_str).collect();
        f.write_str(&outermost_first.join(": "))
    }
}

/// The text of a cause, without the number that the library adds.
fn words(cause: &impl fmt::Display) -> String {
    let text = cause.to_string();
    text.rsplit_once(" (os error ")
        .map_or(text.as_str(), |(words, _)| words)
        .to_owned()
}

/// Adds what was being done to a cause.
pub(crate) trait Context<T> {
    fn while_doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn while_doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Failure {
            chain: vec![words(&cause), what()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_of_the_systems_is_words_without_a_number() {
        let cause = std::io::Error::from_raw_os_error(2);
        assert_eq!(Failure::new(cause).to_string(), "No such file or directory");
    }

    #[test]
    fn a_chain_reads_from_the_outside_in() {
        let inner: Result<()> = Err("no such file").while_doing(|| "open `x`".into());
        let outer = inner.while_doing(|| "read the config".into());
        assert_eq!(
            outer.unwrap_err().to_string(),
            "read the config: open `x`: no such file"
        );
    }
}
