//! What a server wants of a client that has not logged in: the `WWW-Authenticate` header.

/// A way to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token, which another address gives out. The scope that the registry proposes is not read.
    Bearer {
        realm: String,
        service: Option<String>,
    },
    /// A user and a password with each request.
    Basic,
}

impl Challenge {
    /// The first supported challenge of these headers; a token is preferred.
    pub(super) fn choose(headers: &[String]) -> Option<Self> {
        let offered: Vec<_> = headers.iter().filter_map(|it| Self::parse(it)).collect();
        let bearer = offered.iter().find(|it| **it != Self::Basic);
        bearer.or(offered.first()).cloned()
    }

    fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let value = |name: &str| {
            let found = parameters.iter().find(|it| it.0 == name);
            found.map(|it| it.1.clone()).filter(|it| !it.is_empty())
        };
        Some(Self::Bearer {
            realm: value("realm")?,
            service: value("service"),
        })
    }
}

/// The parameters `name="value"`, separated by commas; quoted values may contain commas.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        found.push((name, value));
        rest = after;
    }
    found
}

/// The text up to the closing quotation mark, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|it| it.1)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(headers: &[&str]) -> Option<Challenge> {
        let headers: Vec<String> = headers.iter().map(|it| (*it).to_owned()).collect();
        Challenge::choose(&headers)
    }

    #[test]
    fn a_token_is_preferred_and_quoted_values_may_have_commas() {
        let header = r#"bearer realm="https://auth.example/token?a=b",service=my, Scope="repository:a/b:pull,push""#;
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token?a=b".to_owned(),
            service: Some("my".to_owned()),
        };
        assert_eq!(choose(&["Basic realm=\"x\"", header]), Some(bearer));
        assert_eq!(choose(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        for unsupported in [
            "Bearer",
            "Bearer service=\"x\"",
            "Negotiate",
            "",
            "Bearer realm=\"",
        ] {
            assert_eq!(choose(&[unsupported]), None, "{unsupported}");
        }
    }
}
