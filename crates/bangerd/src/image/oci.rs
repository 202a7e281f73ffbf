//! The documents of a container image, of a registry as of a layout: an index of manifests, or the
//! manifest of one image.
//!
//! <https://github.com/opencontainers/image-spec>, and docker's own, which have other media types.

use banger_api::{Code, Error, harmless};
use serde::Deserialize;

use crate::download::Digest;
use crate::error::Result;

/// The media types that are asked for.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The media types of the configuration of an image for containers.
const CONFIGURATIONS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// The maximum number of layers; docker's overlay has 127.
pub(super) const MOST_LAYERS: usize = 512;

/// The nesting of indexes.
pub(super) const DEEPEST: u32 = 3;

/// The largest document, in bytes.
pub(super) const LARGEST_DOCUMENT: u64 = 4 << 20;

/// The largest configuration, and the largest sum of compressed layers, in bytes.
const LARGEST_CONFIGURATION: u64 = 4 << 20;
const LARGEST_LAYERS: u64 = 64 << 30;

/// Either kind of document; the fields tell which.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: Option<u32>,
    manifests: Option<Vec<Choice>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Choice {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
}

/// A part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// A document that has been understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    /// An index; this is the manifest for linux/amd64.
    Elsewhere(Digest),
    /// An image.
    Image {
        configuration: Blob,
        layers: Vec<Blob>,
    },
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::Invalid, what)
}

impl Manifest {
    /// Understands a document.
    ///
    /// # Errors
    /// `invalid`: it is none, too old, of something else, or for other machines only.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let document: Document = serde_json::from_slice(text)
            .map_err(|cause| invalid("the manifest is not understood").cause(cause.to_string()))?;
        if document.schema_version == Some(1) {
            return Err(
                invalid("the image is stored in the manifest format \"schema 1\"")
                    .cause("it is outdated, and its parts have no digests that can be checked")
                    .hint("push the image again with a current program, such as docker or skopeo"),
            );
        }
        match (document.manifests, document.config, document.layers) {
            (Some(manifests), _, _) => choose(&manifests).map(Self::Elsewhere),
            (None, Some(configuration), Some(layers)) => image(&configuration, &layers),
            _ => Err(invalid(
                "the manifest has neither layers nor other manifests",
            )),
        }
    }
}

/// The manifest for linux/amd64; one for all CPUs of that kind precedes those for newer ones. If none
/// names this platform, it is the only one that names no platform.
fn choose(manifests: &[Choice]) -> Result<Digest> {
    let is_ours = |it: &&Choice| {
        let platform = it.platform.as_ref();
        platform.is_some_and(|it| it.os == "linux" && it.architecture == "amd64")
    };
    let variant = |it: &&Choice| it.platform.as_ref().map(|it| it.variant.clone());
    if let Some(chosen) = manifests.iter().filter(is_ours).min_by_key(variant) {
        return digest(&chosen.digest);
    }
    let mut unnamed = manifests.iter().filter(|it| it.platform.is_none());
    match (unnamed.next(), unnamed.next()) {
        (Some(only), None) => digest(&only.digest),
        (Some(_), Some(_)) => Err(invalid("it has several images without a platform")
            .hint("copy one image alone: skopeo copy --override-arch amd64 SOURCE oci:DIR")),
        (None, _) => Err(invalid("the image is not for linux/amd64").cause(platforms(manifests))),
    }
}

/// The platforms of an index, in words.
fn platforms(manifests: &[Choice]) -> String {
    let name = |it: &Choice| {
        let platform = it.platform.as_ref()?;
        // Attestations are listed as images for `unknown/unknown`.
        let is_known = platform.os != "unknown";
        is_known.then(|| format!("{}/{}", platform.os, platform.architecture))
    };
    let mut names: Vec<String> = manifests.iter().filter_map(name).collect();
    names.dedup();
    let names = names.join(", ");
    match harmless::visible(&names)
        .chars()
        .take(300)
        .collect::<String>()
    {
        none if none.is_empty() => "no platform is named".to_owned(),
        names => format!("it is for {names}"),
    }
}

fn image(configuration: &Descriptor, layers: &[Descriptor]) -> Result<Manifest> {
    let kind = &configuration.media_type;
    if !kind.is_empty() && !CONFIGURATIONS.contains(&kind.as_str()) {
        return Err(invalid("it is not an image of a root file system")
            .cause(format!("it is a `{}`", harmless::visible(kind))));
    }
    if let Some(layer) = layers
        .iter()
        .find(|it| it.media_type.ends_with("encrypted"))
    {
        return Err(invalid("its layers are encrypted").cause(harmless::visible(&layer.media_type)));
    }
    let (count, sum) = (
        layers.len(),
        layers
            .iter()
            .fold(0_u64, |sum, it| sum.saturating_add(it.size)),
    );
    if count == 0 || count > MOST_LAYERS {
        return Err(invalid(format!(
            "it has {count} layers, and may have 1 to {MOST_LAYERS}"
        )));
    }
    if sum > LARGEST_LAYERS || configuration.size > LARGEST_CONFIGURATION {
        let largest = LARGEST_LAYERS >> 30;
        return Err(invalid(format!(
            "it is larger than the limit of {largest} GiB"
        )));
    }
    Ok(Manifest::Image {
        configuration: blob(configuration)?,
        layers: layers.iter().map(blob).collect::<Result<_>>()?,
    })
}

fn blob(descriptor: &Descriptor) -> Result<Blob> {
    Ok(Blob {
        digest: digest(&descriptor.digest)?,
        size: descriptor.size,
    })
}

fn digest(text: &str) -> Result<Digest> {
    let digits = text.strip_prefix("sha256:").ok_or_else(|| {
        let excerpt: String = text.chars().take(80).collect();
        invalid(format!(
            "`{}` is not a sha256: digest",
            excerpt.escape_debug()
        ))
    })?;
    Digest::parse(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn choice(digit: char, platform: &str) -> String {
        format!(r#"{{"digest": "sha256:{}"{platform}}}"#, hex(digit))
    }

    fn index(choices: &[String]) -> Result<Manifest> {
        let text = format!(
            r#"{{"schemaVersion": 2, "manifests": [{}]}}"#,
            choices.join(",")
        );
        Manifest::parse(text.as_bytes())
    }

    fn refused(text: &str) -> String {
        Manifest::parse(text.as_bytes()).unwrap_err().report()
    }

    #[test]
    fn of_an_index_the_image_for_this_machine_is_chosen() {
        let of = |architecture: &str, variant: &str| {
            format!(r#", "platform": {{"os": "linux", "architecture": "{architecture}"{variant}}}"#)
        };
        let unknown = r#", "platform": {"os": "unknown", "architecture": "unknown"}"#;
        let newer = of("amd64", r#", "variant": "v3""#);
        let found = index(&[
            choice('1', &of("arm64", "")),
            choice('2', &newer),
            choice('3', &of("amd64", "")),
            choice('4', unknown),
        ]);
        let expected = Manifest::Elsewhere(Digest::parse(&hex('3')).unwrap());
        assert_eq!(found.unwrap(), expected);
        let other = index(&[choice('1', &of("arm64", "")), choice('4', unknown)]).unwrap_err();
        assert!(other.report().contains("it is for linux/arm64"), "{other}");
        assert!(index(&[choice('3', "")]).is_ok());
        assert!(index(&[choice('4', unknown), choice('3', "")]).is_ok());
        assert!(index(&[choice('3', ""), choice('4', "")]).is_err());
    }

    #[test]
    fn what_is_not_an_image_is_refused_in_words() {
        let part = |kind: &str, size: u64| {
            let digest = hex('a');
            format!(r#"{{"mediaType": "{kind}", "digest": "sha256:{digest}", "size": {size}}}"#)
        };
        let image = |configuration: &str, layers: &str| {
            format!(r#"{{"schemaVersion": 2, "config": {configuration}, "layers": [{layers}]}}"#)
        };
        let (good, layer) = (part(CONFIGURATIONS[0], 2), part("application/x.tar", 5));
        assert!(Manifest::parse(image(&good, &layer).as_bytes()).is_ok());
        for (text, why) in [
            (
                r#"{"schemaVersion": 1, "fsLayers": []}"#.to_owned(),
                "schema 1",
            ),
            ("<html>".to_owned(), "is not understood"),
            (r#"{"schemaVersion": 2}"#.to_owned(), "neither layers"),
            (
                image(&part("application/vnd.cncf.helm.config.v1+json", 2), &layer),
                "helm",
            ),
            (
                image(&good, &part("application/x.tar+encrypted", 5)),
                "encrypted",
            ),
            (image(&good, &part("application/x.tar", u64::MAX)), "64 GiB"),
            (image(&part(CONFIGURATIONS[1], 1 << 30), &layer), "larger"),
            (image(&good, ""), "it has 0 layers"),
            (image(&good, &layer.replace("sha256:", "sha512:")), "sha256"),
        ] {
            let said = refused(&text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
