//! Small texts whose digest nobody knows beforehand, such as the manifest that a tag names.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use banger_api::Result;
use ureq::http::header;

use super::failure::{AttemptFailure, Recovery};
use super::stall::StallGuard;
use super::web::{self, Web};
use super::{CancelToken, Downloads, Progress, ProgressSink, RetryLimits, WebAddress};

/// The size of one read, in bytes.
const CHUNK: usize = 1 << 14;

/// A question to a server.
#[derive(Debug)]
pub(crate) struct Inquiry<'a> {
    /// What it is about, for messages.
    pub what: &'a str,
    /// Where to ask.
    pub address: &'a WebAddress,
    /// The media types that are understood.
    pub accept: &'a str,
    /// The longest text that is accepted, in bytes.
    pub longest: u64,
}

/// What a server answers: any status but those that may pass, such as 503, which are tried again.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub status: u16,
    /// The ways to log in that it offers (`WWW-Authenticate`).
    pub challenges: Vec<String>,
    /// The digest that it claims (`Docker-Content-Digest`).
    pub digest: Option<String>,
    /// The text.
    pub text: Vec<u8>,
}

impl Downloads {
    /// Asks a server, again if it fails for the moment.
    ///
    /// # Errors
    /// `host`: the server does not answer, answers too much, or the question was cancelled.
    pub(crate) fn ask(
        &self,
        inquiry: &Inquiry<'_>,
        cancel: &CancelToken,
        progress: ProgressSink<'_>,
    ) -> Result<Answer> {
        let answer = self.ask_repeatedly(inquiry, cancel, progress);
        cancel.clear();
        answer.map_err(|failure| {
            let from = format!("from {}", inquiry.address);
            failure.error.within(from).within(inquiry.what)
        })
    }

    fn ask_repeatedly(
        &self,
        inquiry: &Inquiry<'_>,
        cancel: &CancelToken,
        progress: ProgressSink<'_>,
    ) -> std::result::Result<Answer, AttemptFailure> {
        let web = Web::new(&self.limits, &self.proxies, cancel);
        let mut pause = self.limits.backoff;
        let mut attempt = 1;
        loop {
            let failure = match ask_once(inquiry, &web, &self.limits) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if cancel.is_cancelled() {
                return Err(AttemptFailure::cancelled());
            }
            let least = match failure.recovery {
                Recovery::Retry(least) if attempt < self.limits.attempts => least,
                _ => return Err(failure),
            };
            let wait = pause.max(least).min(Duration::from_secs(60));
            let remark = format!("{}; retrying in {wait:.0?}", failure.error);
            progress(Progress::Remark(&remark));
            if cancel.wait(wait) {
                return Err(AttemptFailure::cancelled());
            }
            pause *= 2;
            attempt += 1;
        }
    }
}

fn ask_once(
    inquiry: &Inquiry<'_>,
    web: &Web<'_>,
    limits: &RetryLimits,
) -> std::result::Result<Answer, AttemptFailure> {
    let response = web.ask(inquiry.address, inquiry.accept)?;
    let (status, headers) = (response.status(), response.headers());
    if matches!(status.as_u16(), 407 | 408 | 425 | 429 | 500..) {
        let retry_after = web::text(headers, &header::RETRY_AFTER);
        return Err(AttemptFailure::from_status(status, retry_after));
    }
    let challenges = headers.get_all(header::WWW_AUTHENTICATE);
    let challenges = challenges.iter().filter_map(|it| it.to_str().ok());
    let challenges = challenges.map(str::to_owned).collect();
    let claimed = headers.get("docker-content-digest");
    let digest = claimed.and_then(|it| it.to_str().ok()).map(str::to_owned);
    let length = web::text(headers, &header::CONTENT_LENGTH).and_then(|it| it.trim().parse().ok());
    let body = response.into_body().into_reader();
    let text = receive(body, inquiry.longest, limits)?;
    let have = text.len() as u64;
    if let Some(total) = length.filter(|total: &u64| *total != have) {
        let message = format!("the answer ends after {have} of {total} bytes");
        return Err(AttemptFailure::retry(message));
    }
    Ok(Answer {
        status: status.as_u16(),
        challenges,
        digest,
        text,
    })
}

/// Reads a text of at most `longest` bytes.
fn receive(
    body: impl Read,
    longest: u64,
    limits: &RetryLimits,
) -> std::result::Result<Vec<u8>, AttemptFailure> {
    let (mut text, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    let mut body = body.take(longest + 1);
    let mut stall_guard = StallGuard::new(limits);
    loop {
        let count = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
            Err(cause) => return Err(AttemptFailure::from_connection(&cause)),
        };
        text.extend_from_slice(&chunk[..count]);
        stall_guard.record(count)?;
    }
    if text.len() as u64 > longest {
        let message = format!("the answer is longer than {longest} bytes");
        return Err(AttemptFailure::next_source(message));
    }
    Ok(text)
}
