//! Pulls from a scripted registry, which lies, cuts off, and wants a token.

mod logins;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::download::tests::server::{Request, Server, cut, reply, whole};
use crate::download::{CancelToken, Downloads, Proxies, RetryLimits, hexadecimal};
use crate::error::Result;
use crate::image::bundle::{Stage, uninterrupted};
use crate::image::foreign::FetchedImage;

/// The path of the repository of all tests.
const PATH: &str = "/v2/ada/tool";

fn digest(content: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(content);
    hexadecimal(hash)
}

/// The content of a registry, by path.
#[derive(Clone, Default)]
struct Content(BTreeMap<String, Vec<u8>>);

impl Content {
    /// An image with one layer, under this tag.
    fn image(tag: &str) -> Self {
        let mut content = Self::default();
        let manifest = content.add_image();
        content
            .0
            .insert(format!("{PATH}/manifests/{tag}"), manifest);
        content
    }

    fn add_blob(&mut self, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", digest(bytes));
        let path = format!("{PATH}/blobs/{digest}");
        self.0.insert(path, bytes.to_owned());
        digest
    }

    fn add_image(&mut self) -> Vec<u8> {
        let configuration = self.add_blob(b"{}");
        let layer = self.add_blob(&layer());
        let size = layer_length();
        format!(
            r#"{{"schemaVersion": 2, "config": {{"digest": "{configuration}", "size": 2}},
            "layers": [{{"digest": "{layer}", "size": {size}}}]}}"#
        )
        .into_bytes()
    }

    fn answer(&self, request: &Request, stream: &mut TcpStream) {
        match self.0.get(&request.target) {
            Some(content) => whole(request, stream, content, "\"v1\""),
            None => {
                let body = br#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no such tag\u001b"}]}"#;
                let length = format!("content-length: {}\r\n", body.len());
                reply(stream, "404 Not Found", &length, body);
            }
        }
    }
}

/// The only layer.
fn layer() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn layer_length() -> usize {
    layer().len()
}

fn blob_of_layer() -> String {
    format!("{PATH}/blobs/sha256:{}", digest(&layer()))
}

/// A folder of downloads.
struct World {
    folder: tempfile::TempDir,
    logins: Logins,
    lines: Vec<String>,
    /// How long a server may say nothing.
    patience: Duration,
    _uninterrupted: std::sync::RwLockReadGuard<'static, ()>,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            logins: Logins::default(),
            lines: Vec::new(),
            patience: Duration::from_secs(60),
            _uninterrupted: uninterrupted(),
        }
    }

    /// A world in which servers must not wait for long.
    fn impatient() -> Self {
        Self {
            patience: Duration::from_millis(500),
            ..Self::new()
        }
    }

    fn pull(&mut self, server: &Server, name: &str) -> Result<FetchedImage> {
        self.pull_as(&format!("docker://{}/ada/tool{name}", server.host()), None)
    }

    fn pull_as(&mut self, name: &str, configured: Option<&str>) -> Result<FetchedImage> {
        let reference = ImageReference::parse(name).unwrap();
        let downloads = Downloads::new(self.folder.path(), Proxies::default());
        let downloads = downloads.with_limits(RetryLimits {
            connect: self.patience,
            first_byte: self.patience,
            stall: self.patience,
            backoff: Duration::from_millis(1),
            attempts: 3,
            ..RetryLimits::default()
        });
        let source = Source {
            reference: &reference,
            configured,
            logins: &self.logins,
        };
        let lines = &mut self.lines;
        pull(&source, &downloads, &mut |it| {
            if let Stage::Begun(line) | Stage::Remark(line) = it {
                lines.push(line);
            }
        })
    }

    fn fail(&mut self, server: &Server, name: &str) -> String {
        self.pull(server, name).unwrap_err().report()
    }

    /// Everything that somebody could read.
    fn told(&self) -> String {
        self.lines.join("\n")
    }
}

fn path_of_layer(image: &FetchedImage) -> PathBuf {
    image.blobs[&digest(&layer())].clone()
}

fn assert_is_whole(image: &FetchedImage) {
    assert_eq!(image.blobs.len(), 2);
    assert!(std::fs::read(path_of_layer(image)).unwrap() == layer());
    assert_eq!(image.digest, digest(&image.manifest));
}

#[test]
fn an_image_is_fetched_once_and_found_in_the_cache_afterwards() {
    let content = Content::image("1.2");
    let server = Server::start(move |_, request, stream| content.answer(request, stream));
    let mut world = World::new();
    assert_is_whole(&world.pull(&server, ":1.2").unwrap());
    let accept = server.requests()[0].header("accept").unwrap().to_owned();
    assert!(accept.contains("oci.image.index.v1+json"), "{accept}");
    assert!(accept.contains("manifest.list.v2+json"), "{accept}");
    assert_eq!(server.requests().len(), 3);
    assert_is_whole(&world.pull(&server, ":1.2").unwrap());
    assert_eq!(server.requests().len(), 4);
    assert!(world.told().contains("download layer 1 of 1, 391 KiB"));
}

#[test]
fn a_name_without_a_host_is_asked_at_the_configured_registry_under_its_path() {
    let content = Content::image("latest");
    let server = Server::start(move |_, request, stream| {
        let target = request.target.replace("/v2/group/proxy/", "/v2/");
        let request = Request {
            target,
            ..request.clone()
        };
        content.answer(&request, stream);
    });
    let configured = server.url("/group/proxy");
    let mut world = World::new();
    let image = world.pull_as("docker://ada/tool", Some(&configured));
    assert_is_whole(&image.unwrap());
    assert!(
        server
            .requests()
            .iter()
            .all(|it| it.target.contains("/group/proxy/"))
    );
}

#[test]
fn an_index_leads_to_the_image_for_this_machine_by_its_digest() {
    let mut content = Content::default();
    let manifest = content.add_image();
    let own = format!("sha256:{}", digest(&manifest));
    let manifest_path = format!("{PATH}/manifests/{own}");
    content.0.insert(manifest_path.clone(), manifest);
    let index = format!(
        r#"{{"schemaVersion": 2, "manifests": [
        {{"digest": "sha256:{}", "platform": {{"os": "linux", "architecture": "arm64"}}}},
        {{"digest": "{own}", "platform": {{"os": "linux", "architecture": "amd64"}}}}]}}"#,
        "0".repeat(64)
    );
    let pinned = format!("@sha256:{}", digest(index.as_bytes()));
    content.0.insert(
        format!("{PATH}/manifests/latest"),
        index.clone().into_bytes(),
    );
    content.0.insert(
        format!("{PATH}/manifests/{}", &pinned[1..]),
        index.into_bytes(),
    );
    let served = content.clone();
    let server = Server::start(move |_, request, stream| served.answer(request, stream));
    assert_is_whole(&World::new().pull(&server, "").unwrap());
    assert_is_whole(&World::new().pull(&server, &pinned).unwrap());
    content
        .0
        .insert(manifest_path, b"{\"schemaVersion\": 2}".to_vec());
    let server = Server::start(move |_, request, stream| content.answer(request, stream));
    let report = World::new().fail(&server, "");
    assert!(report.contains("SHA-256 differs"), "{report}");
}

#[test]
fn a_manifest_of_another_digest_than_its_name_or_its_header_says_is_refused() {
    let manifest = Content::image("a").0[&format!("{PATH}/manifests/a")].clone();
    let server = Server::start(move |_, _, stream| {
        let claimed = "f".repeat(64);
        let length = manifest.len();
        let headers =
            format!("content-length: {length}\r\ndocker-content-digest: sha256:{claimed}\r\n");
        reply(stream, "200 OK", &headers, &manifest);
    });
    for name in [":a", &format!("@sha256:{}", "0".repeat(64))] {
        let report = World::new().fail(&server, name);
        assert!(report.contains("SHA-256 differs"), "{report}");
        assert!(report.contains("do not use it"), "{report}");
    }
}

#[test]
fn what_is_missing_or_outdated_is_refused_in_words() {
    let mut content = Content::default();
    let outdated = br#"{"schemaVersion": 1, "name": "ada/tool", "fsLayers": []}"#;
    content
        .0
        .insert(format!("{PATH}/manifests/old"), outdated.to_vec());
    let server = Server::start(move |_, request, stream| content.answer(request, stream));
    let report = World::new().fail(&server, ":old");
    assert!(report.contains("schema 1"), "{report}");
    let report = World::new().fail(&server, ":nosuch");
    assert!(report.contains("there is no image"), "{report}");
    assert!(
        report.contains(r"the registry says: no such tag\u{1b}"),
        "{report}"
    );
    let report = World::new()
        .pull_as("docker://ada/tool", None)
        .unwrap_err()
        .report();
    assert!(report.contains("mirrors = { docker"), "{report}");
}

#[test]
fn a_layer_that_is_cut_is_resumed_and_one_that_stalls_is_asked_for_again() {
    let content = Content::image("latest");
    let server = Server::start(move |number, request, stream| {
        match (request.target == blob_of_layer(), number) {
            (true, 2) => cut(stream, &layer(), 1000, "\"v1\""),
            (true, 3) => {
                let length = layer_length();
                let headers = format!("content-length: {length}\r\n");
                reply(stream, "200 OK", &headers, &layer()[..10]);
                // Nothing more, until the client has gone.
                let _ = std::io::copy(stream, &mut std::io::sink());
            }
            _ => content.answer(request, stream),
        }
    });
    assert_is_whole(&World::impatient().pull(&server, "").unwrap());
    assert!(server.requests().len() > 4);
    assert_eq!(server.requests()[3].from(), 1000);
}

#[test]
fn a_layer_that_is_longer_or_another_than_the_manifest_says_is_never_used() {
    for lie in [vec![0; layer_length() * 2], vec![0; layer_length()]] {
        let mut content = Content::image("latest");
        content.0.insert(blob_of_layer(), lie);
        let server = Server::start(move |_, request, stream| content.answer(request, stream));
        let mut world = World::new();
        let report = world.fail(&server, "");
        let is_clear = report.contains("larger than the limit") || report.contains("SHA-256");
        assert!(is_clear, "{report}");
        assert!(!world.folder.path().join(digest(&layer())).exists());
    }
}

#[test]
fn an_answer_that_is_endless_or_fails_for_the_moment_is_dealt_with() {
    let content = Content::image("latest");
    let server = Server::start(move |number, request, stream| match number {
        0 => reply(
            stream,
            "503 Service Unavailable",
            "content-length: 0\r\n",
            b"",
        ),
        1 => cut(stream, &content.0[&request.target], 5, "\"v1\""),
        _ => content.answer(request, stream),
    });
    let mut world = World::new();
    assert_is_whole(&world.pull(&server, "").unwrap());
    assert!(world.told().contains("retrying"), "{}", world.told());
    let endless = Server::start(|_, _, stream| {
        reply(stream, "200 OK", "", b"{");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    let report = World::new().fail(&endless, "");
    assert!(report.contains("longer than"), "{report}");
}

#[test]
fn a_registry_that_drips_is_given_up() {
    let dripping = Server::start(|_, _, stream| {
        let never = CancelToken::default();
        reply(stream, "200 OK", "content-length: 100000\r\n", b"{");
        let mut sent = stream.write_all(b" ");
        while sent.is_ok() && !never.wait(Duration::from_millis(20)) {
            sent = stream.write_all(b" ");
        }
    });
    let report = World::impatient().fail(&dripping, "");
    assert!(report.contains("bytes received in"), "{report}");
    assert_eq!(dripping.requests().len(), 3);
}
