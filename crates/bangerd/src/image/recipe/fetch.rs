//! What recipes name is fetched here, on the host.

use std::path::{Path, PathBuf};

use banger_api::{Code, Error};
use banger_host::command::Command;

use super::mirrors::{Mirrors, NpmRegistries};
use super::{Origin, RecipeDownload, Repository};
use crate::download::{Address, CancelToken, Download, Downloads, Proxies, Remarks};
use crate::error::{During, Result};
use crate::image::bundle::{InterruptSignal, Stage, StageSink, stage};

/// The largest download of a recipe, in bytes.
const LARGEST: u64 = 16 << 30;

/// How long git may take for one repository.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1800);

/// Fetches, until somebody types ^C.
pub(crate) struct Fetcher<'p> {
    folder: PathBuf,
    downloads: Downloads,
    proxies: Proxies,
    home: Option<PathBuf>,
    mirrors: Mirrors,
    npm: NpmRegistries,
    cancel: CancelToken,
    interruption: InterruptSignal,
    progress: StageSink<'p>,
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl<'p> Fetcher<'p> {
    /// Fetches into the cache `folder`, in this environment.
    ///
    /// # Errors
    /// When ^C cannot be watched for.
    pub(crate) fn new(
        folder: &Path,
        mirrors: &Mirrors,
        environment: impl Fn(&str) -> Option<PathBuf>,
        progress: StageSink<'p>,
    ) -> Result<Self> {
        let cancel = CancelToken::default();
        let ending = cancel.clone();
        let proxies = Proxies::read(&environment);
        Ok(Self {
            folder: folder.to_owned(),
            downloads: Downloads::new(folder, proxies.clone()),
            proxies,
            home: environment("HOME"),
            mirrors: mirrors.clone(),
            npm: NpmRegistries::find(mirrors, environment),
            cancel,
            interruption: InterruptSignal::watch(move || ending.cancel())?,
            progress,
        })
    }

    /// Fails after ^C.
    ///
    /// # Errors
    /// `interrupted`.
    pub(crate) fn check(&self) -> Result<()> {
        self.interruption.check()
    }

    /// The npm registry without a login, for commands in the image.
    pub(super) fn npm_registry(&self) -> Option<String> {
        self.npm.public()
    }

    /// The path of a download, whose digest is right.
    pub(super) fn download(&mut self, wanted: &RecipeDownload) -> Result<PathBuf> {
        let folder = Path::new("/");
        let mut sources: Vec<Address> = Vec::new();
        for mirror in &wanted.keys.mirrors {
            sources.push(Address::parse(mirror, folder)?);
        }
        match &wanted.origin {
            Origin::Url(url) => sources.push(Address::parse(url, folder)?),
            Origin::Npm { package, version } => match self.npm.addresses(package, version) {
                Ok(addresses) => sources.extend(addresses),
                // Its own mirrors will do.
                Err(_) if !sources.is_empty() => {}
                Err(error) => return Err(error.within(format!("download {}", wanted.name))),
            },
        }
        let download = Download {
            what: wanted.name.clone(),
            sources,
            sha256: wanted.sha256.clone(),
            largest: LARGEST,
        };
        let Self {
            downloads,
            cancel,
            progress,
            ..
        } = self;
        stage(
            *progress,
            &format!("download {}", wanted.name),
            |progress| {
                let mut remarks = Remarks::default();
                downloads.fetch(&download, cancel, &mut |it| {
                    if let Some(line) = remarks.line(it) {
                        progress(Stage::Remark(line));
                    }
                })
            },
        )
    }

    /// A tar archive of a repository's files at the commit, without its history.
    pub(super) fn repository(&mut self, wanted: &Repository) -> Result<PathBuf> {
        let archive = self.folder.join(format!("{}.tar", wanted.commit));
        let name = wanted.url.rsplit('/').next().unwrap_or_default();
        let doing = format!("fetch {name} at {}", &wanted.commit[..12]);
        std::fs::create_dir_all(&self.folder).map_err(|cause| {
            Error::new(Code::Host, format!("make `{}`", self.folder.display()))
                .cause(cause.to_string())
        })?;
        let work = WorkFolder::new(self.folder.join(format!(
            "{}.{}.git",
            wanted.commit,
            std::process::id()
        )));
        let git = GitCommand {
            folder: &work.0,
            proxies: &self.proxies,
            home: self.home.as_deref(),
        };
        let sources = self.mirrors.repository(&wanted.url);
        stage(self.progress, &doing, |progress| {
            git.fetch(&sources, &wanted.commit, progress)?;
            git.archive(&wanted.commit, &archive)
        })
        .during(doing.clone())?;
        self.check()?;
        Ok(archive)
    }
}

/// A folder that goes when dropped.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn new(path: PathBuf) -> Self {
        // What a killed process has left.
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// git(1) in a repository of its own. The user's configuration holds: proxies, credentials,
/// certificates.
struct GitCommand<'a> {
    folder: &'a Path,
    proxies: &'a Proxies,
    home: Option<&'a Path>,
}

impl GitCommand<'_> {
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git")
            .arg("--git-dir")
            .arg(self.folder)
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .patience(PATIENCE);
        if let Some(home) = self.home {
            command = command.env("HOME", home);
        }
        if !command.program_exists() {
            return Err(Error::new(Code::NotReady, "there is no program `git`")
                .hint("sudo apt-get install git"));
        }
        let output = self.proxies.with(command).run();
        Ok(output.during("git")?.text())
    }

    /// The commit id is the digest of all that belongs to it, which git checks on arrival.
    fn fetch(&self, sources: &[String], commit: &str, progress: StageSink<'_>) -> Result<()> {
        self.run(&["init", "--quiet", "--bare"])?;
        let mut failed = Vec::new();
        for source in sources {
            progress(Stage::Remark(format!("from {}", without_login(source))));
            let check = "fetch.fsckObjects=true";
            let options = [
                "-c",
                check,
                "fetch",
                "--quiet",
                "--depth=1",
                "--no-tags",
                "--",
            ];
            match self.run(&[&options[..], &[source, commit]].concat()) {
                Ok(_) => {
                    let found = self.run(&["rev-parse", "--verify", "FETCH_HEAD^{commit}"])?;
                    if found.trim() == commit {
                        return Ok(());
                    }
                    let what = format!("another commit came: {}", found.trim());
                    failed.push(Error::new(Code::Host, what));
                }
                Err(error) => failed.push(error.within(format!("from {}", without_login(source)))),
            }
        }
        let mut failed = failed.into_iter();
        let Some(mut first) = failed.next() else {
            return Err(Error::new(Code::Invalid, "no source given"));
        };
        first.also.extend(failed.map(|it| it.to_string()));
        Err(first)
    }

    fn archive(&self, commit: &str, to: &Path) -> Result<()> {
        let aside = to.with_extension("tar.part");
        let shown = aside
            .to_str()
            .ok_or_else(|| Error::new(Code::Invalid, format!("{aside:?} is not text")))?;
        self.run(&["archive", "--format=tar", "--output", shown, commit])?;
        std::fs::rename(&aside, to).map_err(|cause| {
            Error::new(Code::Host, format!("write `{}`", to.display())).cause(cause.to_string())
        })
    }
}

fn without_login(source: &str) -> String {
    match source.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => source.to_owned(),
    }
}
