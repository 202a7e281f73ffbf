mod files;
mod proxy;
mod server;
mod servers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::*;

/// What is downloaded: large enough for several reads.
pub(super) fn content() -> &'static [u8] {
    static CONTENT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    CONTENT.get_or_init(|| (0..300_000_u32).flat_map(u32::to_le_bytes).collect())
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(bytes);
    Digest::parse(&hexadecimal(hash)).unwrap()
}

pub(super) fn from(sources: &[&str]) -> Download {
    Download {
        what: "the test's file".to_owned(),
        sources: sources
            .iter()
            .map(|it| Address::parse(it, Path::new("/")).unwrap())
            .collect(),
        sha256: sha256(content()),
        largest: 2 << 20,
    }
}

/// A folder of downloads, without much patience.
pub(super) struct World {
    folder: tempfile::TempDir,
    downloads: Downloads,
    /// What was heard, but for the bytes.
    heard: Vec<String>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::behind(Proxies::default())
    }

    pub(super) fn behind(proxies: Proxies) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(folder.path(), proxies).with_patience(Patience {
            connect: Duration::from_secs(5),
            answer: Duration::from_millis(500),
            stall: Duration::from_millis(500),
            least: 4 << 10,
            pause: Duration::from_millis(1),
            tries: 3,
        });
        Self {
            folder,
            downloads,
            heard: Vec::new(),
        }
    }

    pub(super) fn fetch(&mut self, wanted: &Download) -> Result<PathBuf> {
        let heard = &mut self.heard;
        self.downloads
            .fetch(wanted, &Cancel::default(), &mut |it| match it {
                Progress::From(source) => heard.push(format!("from {source}")),
                Progress::Remark(words) => heard.push(words.to_owned()),
                Progress::Bytes { .. } => {}
            })
    }

    /// Fetches, and sees that it is what was wanted.
    pub(super) fn succeed(&mut self, wanted: &Download) {
        let path = self.fetch(wanted).unwrap();
        assert!(std::fs::read(path).unwrap() == content());
        assert_eq!(self.files(), [wanted.sha256.as_str()]);
    }

    /// Fetches in vain, and answers the whole report; nothing is there that could be used.
    pub(super) fn fail(&mut self, wanted: &Download) -> String {
        let error = self.fetch(wanted).unwrap_err();
        let whole = wanted.sha256.as_str();
        assert!(self.files().iter().all(|it| it != whole), "{error}");
        error.report()
    }

    pub(super) fn whole(&self, wanted: &Download) -> PathBuf {
        self.folder.path().join(wanted.sha256.as_str())
    }

    pub(super) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
