//! The name of a container image: `docker://[HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST]`.

use std::fmt;

use banger_api::{Code, Error};

use crate::download::Digest;
use crate::error::Result;

/// The beginning of a name that is not a path.
const SCHEME: &str = "docker://";

/// The longest repository name and the longest tag of the specification.
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

/// A container image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageReference {
    /// The registry's host and port, if the name has one.
    pub(super) host: Option<String>,
    /// The path of the image.
    pub(super) repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// Whether this is meant as a name in a registry, and not as a path.
    #[must_use]
    pub(crate) fn is_meant_by(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Parses a name.
    ///
    /// # Errors
    /// `invalid`, with what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let excerpt: String = without_user(text).chars().take(200).collect();
            let what = format!("`{}` is not the name of an image", excerpt.escape_debug());
            Error::new(Code::Invalid, what).cause(why).hint(
                "write docker://NAME:TAG, docker://HOST/NAME:TAG or docker://NAME@sha256:DIGEST",
            )
        };
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((name, digest)) => match digest.strip_prefix("sha256:") {
                Some(digits) => (name, Some(Digest::parse(digits)?)),
                None if digest.contains('/') => {
                    return Err(wrong("it has no user and password")
                        .hint("log in to the registry: docker login HOST"));
                }
                None => return Err(wrong("what follows the @ is not a sha256: digest")),
            },
        };
        let (host, path) = match rest.split_once('/') {
            // As docker(1) tells a host from the first part of a path.
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
                (Some(host.to_owned()), path)
            }
            _ => (None, rest),
        };
        if !host.as_deref().is_none_or(is_host) {
            return Err(wrong("its host is invalid"));
        }
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        if !tag.as_deref().is_none_or(is_tag) {
            return Err(wrong("its tag is invalid"));
        }
        let repository = match (&host, repository.contains('/')) {
            // The registry of names without a host has these under `library`.
            (None, false) if !repository.is_empty() => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        if !is_repository(&repository) {
            return Err(wrong(if repository.to_lowercase() == repository {
                "its name is invalid"
            } else {
                "the name of an image has lower-case letters only"
            }));
        }
        Ok(Self {
            host,
            repository,
            tag,
            digest,
        })
    }

    /// The part of a manifest's address that names it: the digest, or the tag.
    pub(super) fn wanted(&self) -> String {
        match &self.digest {
            Some(digest) => format!("sha256:{digest}"),
            None => self.tag.as_deref().unwrap_or("latest").to_owned(),
        }
    }

    /// The digest that the manifest must have, if the name says it.
    pub(super) fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@sha256:{digest}")?;
        }
        Ok(())
    }
}

/// The text of an address or a name without what stands before its `@`, which may be a password.
pub(crate) fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find("@sha256:").unwrap_or(rest.len());
    let (name, digest) = rest.split_at(end);
    match name.rsplit_once('@') {
        Some((_, name)) => format!("{scheme}://…@{name}{digest}"),
        None => text.to_owned(),
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let of_name = |it: char| it.is_ascii_alphanumeric() || "-.".contains(it);
    let of_address = |it: char| it.is_ascii_hexdigit() || ":.".contains(it);
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_valid = match inner {
        Some(address) => address.chars().all(of_address),
        None => host.chars().all(of_name),
    };
    !host.is_empty() && is_valid && port.is_none_or(|it| it.parse::<u16>().is_ok())
}

fn is_tag(text: &str) -> bool {
    let allowed = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    (1..=LONGEST_TAG).contains(&text.len())
        && text.chars().all(allowed)
        && !text.starts_with(['.', '-'])
}

/// Lower-case words of letters and digits, which single dots, one or two underscores or any
/// number of hyphens join, in a path.
pub(super) fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_word = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
        let is_joint = |it: &str| {
            matches!(it, "." | "_" | "__") || it.chars().all(|character| character == '-')
        };
        part.starts_with(is_word) && part.ends_with(is_word) && part.split(is_word).all(is_joint)
    };
    text.len() <= LONGEST_REPOSITORY && text.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_host_tag_and_digest() {
        let digest = "a".repeat(64);
        let pinned = format!("docker://mine.example/a@sha256:{digest}");
        for (text, host, repository, wanted) in [
            (
                "docker://debian",
                None,
                "library/debian",
                "latest".to_owned(),
            ),
            ("docker://ada/tool:1.2", None, "ada/tool", "1.2".to_owned()),
            (
                "docker://localhost:5000/a/b-c/d__e:V1",
                Some("localhost:5000"),
                "a/b-c/d__e",
                "V1".to_owned(),
            ),
            (
                "docker://[::1]:80/a",
                Some("[::1]:80"),
                "a",
                "latest".to_owned(),
            ),
            (
                &pinned,
                Some("mine.example"),
                "a",
                format!("sha256:{digest}"),
            ),
        ] {
            let found = ImageReference::parse(text).unwrap();
            assert_eq!(found.host.as_deref(), host, "{text}");
            assert_eq!(found.repository, repository);
            assert_eq!(found.wanted(), wanted);
        }
    }

    #[test]
    fn a_password_in_a_name_is_refused_and_not_repeated() {
        let pinned = format!(
            "docker://ada:s3cret@mine.example/a@sha256:{}",
            "a".repeat(64)
        );
        for text in [
            "docker://ada:s3cret@mine.example/a",
            "docker://ada:s3cret@mine.example:5000/A",
            "docker://ada:s3cret/s3cret@mine.example/a",
            "docker://ada:s3cret@mine.example",
            &pinned,
        ] {
            let report = ImageReference::parse(text).unwrap_err().report();
            assert!(!report.contains("s3cret"), "{report}");
            assert!(report.contains("…@mine.example"), "{report}");
        }
        let shown = without_user("https://ada:s3cret@h/x");
        assert_eq!(shown, "https://…@h/x");
        for same in ["docker://a:b@sha256:00", "a@b", "docker://h/a:b", ""] {
            assert_eq!(without_user(same), same);
        }
    }

    #[test]
    fn a_name_that_could_lead_elsewhere_is_refused() {
        for text in [
            "docker://",
            "docker:///a",
            "docker://Debian",
            "docker://a/../b",
            "docker://a//b",
            "docker://a:tag/with",
            "docker://a:",
            "docker://a?b",
            "docker://a%2fb",
            "docker://a b",
            "docker://ada:secret@mine.example/a",
            "docker://mine.example:99999/a",
            "docker://a@sha512:00",
            "docker://a@sha256:00",
        ] {
            let error = ImageReference::parse(text).unwrap_err();
            assert!(error.message.contains("is not"), "{text}: {error}");
            assert!(!error.report().contains("docker.io"));
        }
    }
}
