//! Downloads by digest: only a file with the requested SHA-256 is ever returned.
//!
//! ```text
//!  source 1, source 2 …        tried in order
//!        │  Range, If-Range
//!        ▼
//!  <sha256>.part               grows; resumed after a cut, a restart, or from another source
//!        │  digest checked, fsync, rename
//!        ▼
//!  <sha256>                    checked again before each use
//! ```
//!
//! Everything blocks the caller's thread; [`CancelToken`] cancels from another one.

mod address;
mod cache_entry;
mod cancel;
mod digest;
mod failure;
mod inquiry;
mod proxies;
mod relay;
mod remarks;
mod stall;
mod transfer;
mod web;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::time::Duration;

use banger_api::{Code, Error, Result};

use cache_entry::CacheEntry;
use failure::{AttemptFailure, Recovery};
use transfer::Transfer;
use web::Web;

pub(crate) use address::{Address, WebAddress};
pub(crate) use cancel::CancelToken;
pub(crate) use digest::Digest;
pub(crate) use digest::hexadecimal;
pub(crate) use inquiry::{Answer, Inquiry};
pub(crate) use proxies::Proxies;
pub(crate) use remarks::Remarks;

/// A file to download.
#[derive(Debug, Clone)]
pub(crate) struct Download {
    /// Its description, for messages.
    pub what: String,
    /// Its sources, tried in this order.
    pub sources: Vec<Address>,
    /// Its digest.
    pub sha256: Digest,
    /// The largest size that is accepted, in bytes.
    pub largest: u64,
}

/// The failure of a download.
#[derive(Debug)]
pub(crate) struct FetchFailure {
    /// The error, with that of each source.
    pub error: Error,
    /// The status by which the first source refuses the login, if it does.
    pub refused: Option<u16>,
}

impl From<AttemptFailure> for FetchFailure {
    fn from(failure: AttemptFailure) -> Self {
        let refused = match failure.recovery {
            Recovery::Refused(status) => Some(status),
            _ => None,
        };
        let error = failure.error;
        Self { error, refused }
    }
}

/// The progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress<'a> {
    /// This source is asked now.
    Source(&'a Address),
    /// Bytes on disk.
    Bytes {
        /// The number of bytes so far.
        have: u64,
        /// The size of the file, if the server says it.
        total: Option<u64>,
    },
    /// Anything else, as a sentence.
    Remark(&'a str),
}

/// The receiver of a download's progress.
pub(crate) type ProgressSink<'a> = &'a mut dyn FnMut(Progress<'_>);

/// Timeouts and retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryLimits {
    /// Timeout for connecting.
    pub connect: Duration,
    /// Timeout for the head of a response.
    pub first_byte: Duration,
    /// A transfer that brings fewer than `stall_bytes` in this time has stalled.
    pub stall: Duration,
    /// See `stall`.
    pub stall_bytes: u64,
    /// Pause before the first retry; each further pause is twice as long.
    pub backoff: Duration,
    /// Attempts at a source without a new byte.
    pub attempts: u32,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            first_byte: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            stall_bytes: 4 << 10,
            backoff: Duration::from_secs(1),
            attempts: 5,
        }
    }
}

/// Whether a web server answers, whatever its status: `doctor` asks. Each of the name's resolution,
/// the connection and the answer may take `within`. No proxy is used, as from a guest.
///
/// # Errors
/// Why there is no answer.
pub(crate) fn answers(address: &WebAddress, within: Duration) -> std::result::Result<(), String> {
    let limits = RetryLimits {
        connect: within,
        first_byte: within,
        stall: within,
        ..RetryLimits::default()
    };
    let (proxies, cancel) = (Proxies::default(), CancelToken::default());
    Web::new(&limits, &proxies, &cancel).answers(address)
}

/// The cache of downloads.
#[derive(Debug)]
pub(crate) struct Downloads {
    folder: PathBuf,
    proxies: Proxies,
    limits: RetryLimits,
}

impl Downloads {
    /// A cache in `folder`, which is created on first use.
    pub(crate) fn new(folder: impl Into<PathBuf>, proxies: Proxies) -> Self {
        Self {
            folder: folder.into(),
            proxies,
            limits: RetryLimits::default(),
        }
    }

    /// The same cache with other limits.
    #[cfg(test)]
    pub(crate) fn with_limits(self, limits: RetryLimits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the path of a file with the requested digest, from the cache or a source.
    /// A file that is not requested for 60 days is removed.
    ///
    /// # Errors
    /// `host`: no source has the file (with the error of each), it cannot be written, or the
    /// download was cancelled. The partial file is kept and resumed by the next call.
    pub(crate) fn fetch(
        &self,
        download: &Download,
        cancel: &CancelToken,
        progress: ProgressSink<'_>,
    ) -> Result<PathBuf> {
        let fetched = self.fetch_or_failure(download, cancel, progress);
        fetched.map_err(|failure| failure.error)
    }

    /// As [`Self::fetch`], for a caller that has another login.
    ///
    /// # Errors
    /// Those of [`Self::fetch`].
    pub(crate) fn fetch_or_failure(
        &self,
        download: &Download,
        cancel: &CancelToken,
        progress: ProgressSink<'_>,
    ) -> std::result::Result<PathBuf, FetchFailure> {
        let fetched = self.fetch_from_sources(download, cancel, progress);
        cancel.clear();
        fetched.map_err(|failure| FetchFailure {
            error: failure.error.within(format!("download {}", download.what)),
            ..failure
        })
    }

    fn fetch_from_sources(
        &self,
        download: &Download,
        cancel: &CancelToken,
        progress: ProgressSink<'_>,
    ) -> std::result::Result<PathBuf, FetchFailure> {
        let entry = CacheEntry::open(&self.folder, &download.sha256)?;
        if entry.is_valid(cancel, progress)? {
            return Ok(entry.path());
        }
        let Some(mut partial) = entry.open_partial(cancel, progress)? else {
            return Ok(entry.path());
        };
        let web = Web::new(&self.limits, &self.proxies, cancel);
        let mut failed = Vec::new();
        for source in &download.sources {
            progress(Progress::Source(source));
            let mut transfer = Transfer {
                limits: &self.limits,
                download,
                partial: &mut partial,
                cancel,
                progress,
            };
            match transfer.run(source, &web) {
                Ok(()) => {
                    partial.commit()?;
                    return Ok(entry.path());
                }
                Err(failure) if failure.recovery == Recovery::GiveUp => return Err(failure.into()),
                Err(failure) => {
                    let mut failure = FetchFailure::from(failure);
                    failure.error = failure.error.within(format!("from {source}"));
                    failed.push(failure);
                }
            }
        }
        Err(combine(failed))
    }
}

/// The first source's failure, with the others' errors in `also`.
fn combine(failed: Vec<FetchFailure>) -> FetchFailure {
    let mut failed = failed.into_iter();
    let Some(first) = failed.next() else {
        return FetchFailure {
            error: Error::new(Code::Invalid, "no source given"),
            refused: None,
        };
    };
    failed.fold(first, |mut first, other| {
        first.error.also.push(other.error.to_string());
        let hints = other.error.hints.into_iter();
        FetchFailure {
            error: hints.fold(first.error, Error::hint),
            ..first
        }
    })
}
