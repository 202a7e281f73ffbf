//! Fetches one image: its manifest, then its configuration and layers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use banger_api::{Code, Error, harmless};
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

use super::challenge::Challenge;
use super::complaint;
use super::logins::Logins;
use super::reference::ImageReference;
use super::server::Registry;
use super::token::{self, Authorization};
use crate::download::{
    Address, Answer, CancelToken, Digest, Download, Downloads, Inquiry, Progress, Remarks,
    WebAddress, hexadecimal,
};
use crate::error::{During, Result};
use crate::image::bundle::{InterruptSignal, Stage, StageSink, stage};
use crate::image::foreign::FetchedImage;
use crate::image::oci::{ACCEPT, Blob, DEEPEST, LARGEST_DOCUMENT, Manifest};

/// The number of new tokens for one part of an image, without a new byte of it.
const MOST_TOKENS: u32 = 3;

/// What is fetched, and from where.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    /// The image.
    pub reference: &'a ImageReference,
    /// The registry of the configuration.
    pub configured: Option<&'a str>,
    /// The user's logins.
    pub logins: &'a Logins,
}

/// Fetches an image into the cache of downloads.
///
/// # Errors
/// `not-ready` without a registry, `not-found` if it has no such image, `invalid` for an image that
/// cannot be used, `host` if the registry fails. What has been downloaded stays in the cache.
pub(crate) fn pull(
    source: &Source<'_>,
    downloads: &Downloads,
    progress: StageSink<'_>,
) -> Result<FetchedImage> {
    let cancel = CancelToken::default();
    let ending = cancel.clone();
    let interruption = InterruptSignal::watch(move || ending.cancel())?;
    let registry = Registry::of(source.reference, source.configured, source.logins)?;
    let session = Session {
        downloads,
        cancel: &cancel,
        registry,
        challenge: None,
        authorization: None,
    };
    let pulled = session.pull(source.reference, progress);
    interruption.check()?;
    pulled
}

/// The conversation about one image.
struct Session<'a> {
    downloads: &'a Downloads,
    cancel: &'a CancelToken,
    registry: Registry,
    /// The way to log in, once the registry has asked for it.
    challenge: Option<Challenge>,
    authorization: Option<Authorization>,
}

impl Session<'_> {
    fn pull(mut self, reference: &ImageReference, progress: StageSink<'_>) -> Result<FetchedImage> {
        let (text, configuration, layers) = stage(progress, "find the image", |progress| {
            self.manifest(reference, progress)
        })?;
        let mut blobs = BTreeMap::new();
        let (count, parts) = (layers.len(), [configuration].into_iter().chain(layers));
        for (number, blob) in parts.enumerate() {
            if blobs.contains_key(blob.digest.as_str()) {
                continue;
            }
            let what = match number {
                0 => "the configuration".to_owned(),
                _ => format!("layer {number} of {count}, {}", size(blob.size)),
            };
            let path = stage(progress, &format!("download {what}"), |progress| {
                self.blob(&blob, &what, progress)
            })?;
            blobs.insert(blob.digest.as_str().to_owned(), path);
        }
        let mut hash = Sha256::new();
        hash.update(&text);
        Ok(FetchedImage {
            digest: hexadecimal(hash),
            manifest: text,
            blobs,
        })
    }

    /// The manifest of the image for this machine, whose digest is right, and its parts.
    fn manifest(
        &mut self,
        reference: &ImageReference,
        progress: &mut dyn FnMut(Stage),
    ) -> Result<(Vec<u8>, Blob, Vec<Blob>)> {
        let (mut wanted, mut expected) = (reference.wanted(), reference.digest().cloned());
        for _ in 0..=DEEPEST {
            let address = self.registry.address("manifests", &wanted)?;
            progress(Stage::Remark(format!("from {address}")));
            let answer = self.ask("ask for the manifest", &address, ACCEPT, progress)?;
            self.accept(&answer, reference)
                .during(format!("ask for the manifest: from {address}"))?;
            check(&answer, expected.as_ref()).during(format!("the manifest from {address}"))?;
            let parsed = Manifest::parse(&answer.text).map_err(|error| hint(error, &answer.text));
            match parsed.during(reference.to_string())? {
                Manifest::Image {
                    configuration,
                    layers,
                } => return Ok((answer.text, configuration, layers)),
                Manifest::Elsewhere(digest) => {
                    wanted = format!("sha256:{digest}");
                    expected = Some(digest);
                }
            }
        }
        let what = "its indexes of manifests are nested too deep";
        Err(Error::new(Code::Invalid, what))
    }

    /// Fails unless there is a manifest.
    fn accept(&self, answer: &Answer, reference: &ImageReference) -> Result<()> {
        let status = answer.status;
        let says = |error: Error| match complaint::of(&answer.text) {
            Some(said) => error.cause(format!("the registry says: {said}")),
            None => error,
        };
        match status {
            200 => Ok(()),
            401 | 403 => Err(self.registry.with_remedy(says(Error::new(
                Code::NotFound,
                format!("there is no image `{reference}`, or a login is required ({status})"),
            )))),
            404 => Err(self.registry.with_remedy(says(Error::new(
                Code::NotFound,
                format!("there is no image `{reference}`"),
            )))),
            _ => Err(says(Error::new(
                Code::Host,
                format!("the registry answers with the status {status}"),
            ))),
        }
    }

    /// Asks the registry, and logs in if it wants that.
    fn ask(
        &mut self,
        what: &str,
        address: &WebAddress,
        accept: &str,
        progress: &mut dyn FnMut(Stage),
    ) -> Result<Answer> {
        self.renew(progress)?;
        let answer = self.ask_once(what, address, accept, progress)?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let Some(challenge) = Challenge::choose(&answer.challenges) else {
            return Ok(answer);
        };
        self.challenge = Some(challenge);
        if !self.log_in(progress)? {
            return Ok(answer);
        }
        self.ask_once(what, address, accept, progress)
    }

    fn ask_once(
        &self,
        what: &str,
        address: &WebAddress,
        accept: &str,
        progress: &mut dyn FnMut(Stage),
    ) -> Result<Answer> {
        let inquiry = Inquiry {
            what,
            address: &address.clone().authorized(self.header()),
            accept,
            longest: LARGEST_DOCUMENT,
        };
        let mut remarks = Remarks::default();
        self.downloads.ask(&inquiry, self.cancel, &mut |it| {
            progress_line(&mut remarks, it, progress);
        })
    }

    fn header(&self) -> Option<String> {
        self.authorization.as_ref().map(|it| it.header.clone())
    }

    /// Gets another token when the last one has ended.
    fn renew(&mut self, progress: &mut dyn FnMut(Stage)) -> Result<()> {
        let is_expired = self.authorization.as_ref().is_some_and(|it| it.has_ended());
        if is_expired {
            self.log_in(progress)?;
        }
        Ok(())
    }

    /// Does what the registry wants of a client; returns whether that was possible.
    fn log_in(&mut self, progress: &mut dyn FnMut(Stage)) -> Result<bool> {
        let authorization = match self.challenge.clone() {
            None => None,
            Some(Challenge::Basic) => self.registry.login().map(Authorization::of_login),
            Some(Challenge::Bearer { realm, service }) => {
                Some(self.token(&realm, service.as_deref(), progress)?)
            }
        };
        self.authorization = authorization;
        Ok(self.authorization.is_some())
    }

    /// A token for reading this repository, and nothing else.
    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        progress: &mut dyn FnMut(Stage),
    ) -> Result<Authorization> {
        let doing = "get a token for the registry";
        let address = token::address(realm, service, &self.registry.repository).during(doing)?;
        let login = self.registry.login_at(&address).during(doing)?;
        let who = if login.is_some() {
            "your login"
        } else {
            "anybody"
        };
        let address = address.authorized(login);
        let inquiry = Inquiry {
            what: doing,
            address: &address,
            accept: "application/json",
            longest: LARGEST_DOCUMENT,
        };
        let asked = Instant::now();
        let mut remarks = Remarks::default();
        let answer = self.downloads.ask(&inquiry, self.cancel, &mut |it| {
            progress_line(&mut remarks, it, progress);
        })?;
        let refused = |what: String| {
            let error = Error::new(Code::Host, what).within(format!("from {address}"));
            self.registry.with_remedy(error.within(doing))
        };
        if answer.status != 200 {
            let error = refused(format!("it gives {who} none: status {}", answer.status));
            return Err(match complaint::of(&answer.text) {
                Some(said) => error.cause(format!("it says: {said}")),
                None => error,
            });
        }
        Authorization::of_answer(&answer.text, asked)
            .ok_or_else(|| refused("its answer has no token".to_owned()))
    }

    /// Downloads a part. A token that the registry does not accept any more is replaced, and the
    /// download resumes.
    fn blob(
        &mut self,
        blob: &Blob,
        what: &str,
        progress: &mut dyn FnMut(Stage),
    ) -> Result<PathBuf> {
        let address = self
            .registry
            .address("blobs", &format!("sha256:{}", blob.digest))?;
        let (mut tokens, mut furthest) = (0, 0);
        loop {
            self.renew(progress)?;
            let download = Download {
                what: what.to_owned(),
                sources: vec![Address::Web(address.clone().authorized(self.header()))],
                sha256: blob.digest.clone(),
                largest: blob.size,
            };
            let before = furthest;
            let mut remarks = Remarks::default();
            let fetched = self
                .downloads
                .fetch_or_failure(&download, self.cancel, &mut |it| {
                    if let Progress::Bytes { have, .. } = it {
                        furthest = furthest.max(have);
                    }
                    progress_line(&mut remarks, it, progress);
                });
            let failure = match fetched {
                Ok(path) => return Ok(path),
                Err(failure) => failure,
            };
            if self.cancel.is_cancelled() || failure.refused.is_none() {
                return Err(failure.error);
            }
            if furthest > before {
                tokens = 0;
            }
            tokens += 1;
            let has_token = matches!(self.challenge, Some(Challenge::Bearer { .. }));
            let is_worth_it = failure.refused == Some(401) && has_token && tokens <= MOST_TOKENS;
            if !is_worth_it {
                // The hint of other downloads, an address with a password, is none for a name.
                let hints = Vec::new();
                let error = Error {
                    hints,
                    ..failure.error
                };
                return Err(self.registry.with_remedy(error));
            }
            self.log_in(progress)?;
        }
    }
}

fn progress_line(remarks: &mut Remarks, step: Progress<'_>, progress: &mut dyn FnMut(Stage)) {
    if let Some(line) = remarks.line(step) {
        progress(Stage::Remark(line));
    }
}

/// Rejects a manifest with another digest than the one wanted, or than the one that the registry
/// itself claims.
fn check(answer: &Answer, expected: Option<&Digest>) -> Result<()> {
    let mut hash = Sha256::new();
    hash.update(&answer.text);
    let found = hexadecimal(hash);
    let claimed = answer.digest.as_deref();
    let claimed = claimed.and_then(|it| it.strip_prefix("sha256:"));
    let wrong = expected.map(Digest::as_str).filter(|it| *it != found);
    match wrong.or(claimed.filter(|it| *it != found)) {
        None => Ok(()),
        Some(other) => Err(
            Error::new(Code::Host, format!("its SHA-256 differs: {found}"))
                .cause(format!("expected {}", harmless::visible(other)))
                .hint("do not use it: the registry, or something on the way to it, has changed it"),
        ),
    }
}

/// Adds a hint to the error of an answer that no registry gives.
fn hint(error: Error, text: &[u8]) -> Error {
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) => error,
        Err(_) => error.hint("is this address a registry's? See: curl -I ADDRESS/v2/"),
    }
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        mib => format!("{mib} MiB"),
    }
}
