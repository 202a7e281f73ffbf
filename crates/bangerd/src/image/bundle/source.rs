//! `runtime-bundle.toml`: the address of a packaged bundle, and its SHA-256.

use std::path::Path;

use serde::Deserialize;

use crate::download::{Address, Digest, Download};
use banger_api::{Code, Error, Result};

/// The file's usual name.
pub(super) const FILE: &str = "runtime-bundle.toml";

/// The largest archive that is accepted, in bytes.
const LARGEST: u64 = 16 << 30;

/// The file's keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    url: String,
    sha256: String,
    #[serde(default)]
    mirrors: Vec<String>,
}

/// The file's text for an archive beside it.
pub(super) fn text(name: &str, sha256: &str) -> String {
    let name = toml::Value::String(name.to_owned());
    format!("url = {name}\nsha256 = \"{sha256}\"\n")
}

/// Reads the file.
///
/// # Errors
/// `invalid`, with the mistake in it; `not-found` if it does not exist.
pub(super) fn read(path: &Path) -> Result<Download> {
    let path_text = path.display();
    let text = std::fs::read_to_string(path).map_err(|cause| {
        let code = match cause.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Host,
        };
        Error::new(code, format!("read `{path_text}`"))
            .cause(cause.to_string())
            .hint("pass the manifest of a bundle: --manifest FILE")
    })?;
    let keys: Keys = toml::from_str(&text).map_err(|cause| {
        Error::new(Code::Invalid, format!("read `{path_text}`"))
            .cause(cause.to_string())
            .hint("the keys are `url`, `sha256` and, optionally, `mirrors`, a list")
    })?;
    for (name, value) in [("url", &keys.url), ("sha256", &keys.sha256)] {
        if value.is_empty() {
            return Err(Error::new(
                Code::Invalid,
                format!("`{path_text}` names no bundle: `{name}` is empty"),
            )
            .hint(
                "fill in the bundle's address, and the SHA-256 that `banger bundle package` printed",
            )
            .hint("or build one from Debian's packages: banger bundle build"));
        }
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let sources = keys.mirrors.iter().chain([&keys.url]);
    let sources: Result<Vec<_>> = sources.map(|it| Address::parse(it, folder)).collect();
    let within = |error: Error| error.within(format!("read `{path_text}`"));
    Ok(Download {
        what: "the bundle".to_owned(),
        sources: sources.map_err(within)?,
        sha256: Digest::parse(&keys.sha256).map_err(within)?,
        largest: LARGEST,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Download> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn mirrors_come_first_and_paths_are_beside_the_file() {
        let sha256 = "a".repeat(64);
        let text = format!(
            "url = \"https://example.org/b.tar.gz\"\nsha256 = \"{sha256}\"\nmirrors = [\"b.tar.gz\"]"
        );
        let found = parsed(&text).unwrap();
        let [Address::File(first), Address::Web(second)] = &found.sources[..] else {
            panic!("{found:?}");
        };
        assert!(first.is_absolute() && first.ends_with("b.tar.gz"));
        assert_eq!(second.to_string(), "https://example.org/b.tar.gz");
        assert_eq!(found.sha256.as_str(), sha256);
    }

    #[test]
    fn a_packages_manifest_is_read() {
        let found = parsed(&text("a \"name\".tar.gz", &"b".repeat(64))).unwrap();
        assert!(
            matches!(&found.sources[..], [Address::File(it)] if it.ends_with("a \"name\".tar.gz"))
        );
    }

    #[test]
    fn the_template_and_mistakes_are_rejected_with_the_reason() {
        let template = include_str!("../../../../../runtime-bundle.toml");
        for (text, expected) in [
            (template, "`url` is empty"),
            ("url = \"x\"\nsha256 = \"\"", "`sha256` is empty"),
            ("url = \"x\"\nsha256 = \"abc\"", "is not a SHA-256"),
            ("url = \"ftp://x/y\"\nsha256 = \"abc\"", "`ftp:`"),
            ("url = \"x\"", "missing field"),
            ("url = 3", "invalid type"),
            ("url = \"x\"\nsha = \"\"", "unknown field"),
        ] {
            let error = parsed(text).unwrap_err().report();
            assert!(error.contains(expected), "{error}");
        }
        let error = read(Path::new("/nonexistent/x.toml")).unwrap_err();
        assert_eq!(error.code, Code::NotFound);
    }
}
