//! Tokens: what a registry accepts instead of a login (the token authentication of distribution).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::download::WebAddress;
use crate::error::Result;

/// The lifetime of a token that says none.
const LIFETIME: Duration = Duration::from_secs(60);

/// An `Authorization` header.
pub(super) struct Authorization {
    pub(super) header: String,
    /// When it ends, by its own words; never for a password.
    end: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authorization {
    /// The user's login itself.
    pub(super) fn of_login(header: String) -> Self {
        Self { header, end: None }
    }

    /// The token of an answer to a question of this time, if it has one.
    pub(super) fn of_answer(text: &[u8], asked: Instant) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(text).ok()?;
        let is_token = |it: &String| !it.is_empty() && it.bytes().all(|it| it.is_ascii_graphic());
        let token = answer.token.or(answer.access_token).filter(is_token)?;
        let lifetime = answer.expires_in.map_or(LIFETIME, Duration::from_secs);
        Some(Self {
            header: format!("Bearer {token}"),
            // A little early, for requests that are on their way.
            end: asked.checked_add(lifetime - lifetime / 6),
        })
    }

    /// Whether another one is needed, by its own words.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some_and(|end| end <= Instant::now())
    }
}

/// The address of a token for reading this repository, and nothing else: the registry only says where.
///
/// # Errors
/// `invalid` if the registry names no web address.
pub(super) fn address(realm: &str, service: Option<&str>, repository: &str) -> Result<WebAddress> {
    let scope = format!("repository:{repository}:pull");
    let mut address = realm.split('#').next().unwrap_or_default().to_owned();
    for (name, value) in [("service", service), ("scope", Some(&*scope))] {
        let Some(value) = value else { continue };
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str(name);
        address.push('=');
        encode(value, &mut address);
    }
    WebAddress::parse(&address)
}

/// Percent-encodes a value of a query.
fn encode(value: &str, to: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            to.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_this_repository_at_the_place_that_the_registry_names() {
        for (realm, service, expected) in [
            (
                "https://auth.example/token?a=b#c",
                Some("my registry"),
                "https://auth.example/token?a=b&service=my%20registry&scope=repository:ada/tool:pull",
            ),
            (
                "http://localhost:5000/token",
                None,
                "http://localhost:5000/token?scope=repository:ada/tool:pull",
            ),
        ] {
            let found = address(realm, service, "ada/tool").unwrap();
            assert_eq!(found, WebAddress::parse(expected).unwrap());
        }
        for wrong in ["", "token", "file:///etc/passwd"] {
            address(wrong, None, "a").unwrap_err();
        }
    }

    #[test]
    fn an_answer_has_a_token_that_ends() {
        let now = Instant::now();
        let of = |text: &str| Authorization::of_answer(text.as_bytes(), now);
        let ended = of(r#"{"token": "a", "expires_in": 0}"#).unwrap();
        assert!(ended.has_ended() && ended.header == "Bearer a");
        let lasting = of(r#"{"access_token": "b", "expires_in": 18446744073709551615}"#);
        assert!(!lasting.unwrap().has_ended());
        assert!(!of(r#"{"token": "a"}"#).unwrap().has_ended());
        for none in ["", "{}", r#"{"token": ""}"#, r#"{"token": "a\nb"}"#] {
            assert!(of(none).is_none(), "{none}");
        }
        assert!(!Authorization::of_login("Basic x".to_owned()).has_ended());
    }
}
