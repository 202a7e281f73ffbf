//! The transfer from one source into the partial file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use super::address::{Address, WebAddress};
use super::cache_entry::Partial;
use super::failure::{AttemptFailure, Recovery};
use super::stall::StallGuard;
use super::web::Web;
use super::{CancelToken, Download, Progress, ProgressSink, RetryLimits};

/// The size of one read, in bytes.
const CHUNK: usize = 1 << 16;

/// The longest pause between two attempts at one source.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, AttemptFailure>;

/// One source's attempts at a download.
pub(super) struct Transfer<'a, 'h> {
    pub(super) limits: &'a RetryLimits,
    pub(super) download: &'a Download,
    pub(super) partial: &'a mut Partial,
    pub(super) cancel: &'a CancelToken,
    pub(super) progress: ProgressSink<'h>,
}

impl Transfer<'_, '_> {
    /// Tries a source until the file is complete or the source has to be given up.
    pub(super) fn run(&mut self, source: &Address, web: &Web<'_>) -> Result<()> {
        let (mut attempts, mut furthest, mut has_restarted) = (0, self.partial.size(), false);
        loop {
            let attempt = match source {
                Address::File(path) => self.copy(path),
                Address::Web(address) => self.request(address, web),
            };
            let expected = &self.download.sha256;
            let outcome = attempt.and_then(|()| self.partial.check(expected, self.cancel));
            let Err(failure) = outcome else {
                return Ok(());
            };
            if self.cancel.is_cancelled() {
                return Err(AttemptFailure::cancelled());
            }
            match failure.recovery {
                Recovery::Retry(least) => {
                    if self.partial.size() > furthest {
                        (attempts, furthest) = (0, self.partial.size());
                    }
                    attempts += 1;
                    if attempts >= self.limits.attempts {
                        return Err(failure);
                    }
                    self.pause(attempts, least, &failure)?;
                }
                Recovery::Restart if !has_restarted => {
                    has_restarted = true;
                    self.partial.restart()?;
                    let remark = "starting over: the partial download does not match";
                    (self.progress)(Progress::Remark(remark));
                }
                Recovery::Restart => {
                    return Err(AttemptFailure::new(Recovery::NextSource, failure.error));
                }
                Recovery::NextSource | Recovery::Refused(_) | Recovery::GiveUp => {
                    return Err(failure);
                }
            }
        }
    }

    /// Waits before the next attempt: exponential backoff, but no less than `least`.
    fn pause(&mut self, attempts: u32, least: Duration, failure: &AttemptFailure) -> Result<()> {
        let pause = self.limits.backoff * 2u32.saturating_pow(attempts - 1);
        let pause = pause.min(LONGEST_PAUSE).max(least);
        let remark = format!("{}; retrying in {pause:.0?}", failure.error);
        (self.progress)(Progress::Remark(&remark));
        if self.cancel.wait(pause) {
            return Err(AttemptFailure::cancelled());
        }
        Ok(())
    }

    fn copy(&mut self, path: &Path) -> Result<()> {
        let unreadable = |cause: std::io::Error| AttemptFailure::next_source(cause.to_string());
        // Opening a FIFO would wait for a writer, so the kind comes first.
        let found = path.metadata().map_err(unreadable)?;
        if !found.is_file() {
            return Err(AttemptFailure::next_source("not a regular file"));
        }
        let mut file = File::open(path).map_err(unreadable)?;
        self.partial.restart()?;
        self.receive(&mut file, Some(found.len()))
    }

    fn request(&mut self, address: &WebAddress, web: &Web<'_>) -> Result<()> {
        let source = address.to_string();
        let range = self.partial.range(&source);
        let mut response = web.get(address, &range)?;
        if response.from == 0 {
            self.partial.restart()?;
        } else {
            let versions = range.version.as_ref().zip(response.version.as_ref());
            let has_changed = versions.is_some_and(|(old, new)| old != new);
            if has_changed || response.from != self.partial.size() {
                return Err(AttemptFailure::mismatch());
            }
        }
        self.partial.set_origin(&source, response.version.take())?;
        self.receive(&mut response.body, response.total)
    }

    /// Appends everything from `from` to the partial file.
    fn receive(&mut self, from: &mut dyn Read, total: Option<u64>) -> Result<()> {
        let largest = self.download.largest;
        let too_large = || {
            let message = format!("the file is larger than the limit of {largest} bytes");
            AttemptFailure::next_source(message)
        };
        if total.is_some_and(|total| total > largest) {
            return Err(too_large());
        }
        let mut chunk = vec![0; CHUNK];
        let mut stall_guard = StallGuard::new(self.limits);
        loop {
            let count = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                Err(cause) => return Err(AttemptFailure::from_connection(&cause)),
            };
            if self.cancel.is_cancelled() {
                return Err(AttemptFailure::cancelled());
            }
            if self.partial.size() + count as u64 > largest {
                self.partial.restart()?;
                return Err(too_large());
            }
            self.partial.append(&chunk[..count])?;
            let have = self.partial.size();
            (self.progress)(Progress::Bytes { have, total });
            stall_guard.record(count)?;
        }
        match (self.partial.size(), total) {
            (have, Some(total)) if have != total => Err(AttemptFailure::retry(format!(
                "the file ends after {have} of {total} bytes"
            ))),
            _ => Ok(()),
        }
    }
}
