mod files;
mod proxy;
pub(crate) mod server;
mod servers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::*;

/// The file that is downloaded: large enough for several reads.
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

/// A folder of downloads, short limits.
pub(super) struct World {
    folder: tempfile::TempDir,
    downloads: Downloads,
    /// The progress, except the byte counts.
    progress: Vec<String>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::behind(Proxies::default())
    }

    pub(super) fn behind(proxies: Proxies) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(folder.path(), proxies).with_limits(RetryLimits {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_millis(500),
            stall: Duration::from_millis(500),
            stall_bytes: 4 << 10,
            backoff: Duration::from_millis(1),
            attempts: 3,
        });
        Self {
            folder,
            downloads,
            progress: Vec::new(),
        }
    }

    pub(super) fn fetch(&mut self, download: &Download) -> Result<PathBuf> {
        let lines = &mut self.progress;
        self.downloads
            .fetch(download, &CancelToken::default(), &mut |it| match it {
                Progress::Source(source) => lines.push(format!("from {source}")),
                Progress::Remark(remark) => lines.push(remark.to_owned()),
                Progress::Bytes { .. } => {}
            })
    }

    /// Fetches, and checks the content.
    pub(super) fn succeed(&mut self, download: &Download) {
        let path = self.fetch(download).unwrap();
        assert!(std::fs::read(path).unwrap() == content());
        assert_eq!(self.files(), [download.sha256.as_str()]);
    }

    /// Expects the fetch to fail and to leave no complete file; returns the error's report.
    pub(super) fn fail(&mut self, download: &Download) -> String {
        let error = self.fetch(download).unwrap_err();
        let complete = download.sha256.as_str();
        assert!(self.files().iter().all(|it| it != complete), "{error}");
        error.report()
    }

    pub(super) fn path(&self, download: &Download) -> PathBuf {
        self.folder.path().join(download.sha256.as_str())
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
