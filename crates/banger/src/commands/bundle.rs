//! `banger bundle`: executes the daemon's program, which does the work.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::failure::Outcome;
use crate::programs;
use crate::session::Session;

/// What to do with the bundle.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Build(Build),
    Fetch(Fetch),
    Package(Package),
}

/// Build the bundle from Debian packages: kernel, modules, root file system.
///
/// The new bundle replaces the old one when it is complete; until then, and if anything fails, the old one stays. Existing VMs keep what they were created from. Building needs mmdebstrap, e2fsprogs and a Debian mirror, and neither root nor loop devices.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger bundle build
  banger bundle build --suite bookworm --include nodejs,postgresql
  banger bundle build --mirror http://mirror.example/debian --dir ~/bundles/trixie")]
pub(crate) struct Build {
    /// Where to put the bundle [default: where new VMs come from, see --bundle].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// The Debian release, such as trixie or bookworm.
    #[arg(long, value_name = "SUITE")]
    suite: Option<String>,

    /// The mirror to take packages from.
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,

    /// More packages for the root file system, separated by commas.
    #[arg(long, value_name = "PKG,…", value_delimiter = ',')]
    include: Vec<String>,
}

/// Fetch a ready-made bundle from a server or a file.
///
/// The manifest names the archive's address and its SHA-256, which is checked before anything is unpacked. The new bundle replaces the old one when it is complete; until then, and if anything fails, the old one stays. An interrupted download resumes. Proxies come from the environment, trusted certificates from the system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger bundle fetch --manifest runtime-bundle.toml
  banger bundle fetch --manifest dist/runtime-bundle.toml --dir ~/bundles/trixie")]
pub(crate) struct Fetch {
    /// The manifest: `url` and `sha256` of the archive.
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,

    /// Where to put the bundle [default: where VMs take it from, see --bundle].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Pack the bundle into one archive for other machines, and print its SHA-256.
///
/// The same bundle gives the same archive, byte for byte. A manifest for `banger bundle fetch` is written beside it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger bundle package
  banger bundle package --out /srv/www/banger-runtime.tar.gz")]
pub(crate) struct Package {
    /// The archive to write [default: dist/banger-runtime.tar.gz].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Where the bundle is [default: where VMs take it from, see --bundle].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Verb {
    /// Executes the daemon's program.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let places = &session.places;
        let program = programs::find_bangerd(places.search.as_deref())?;
        let arguments = self.arguments(&places.location.state, &places.location.config);
        // Without either, the daemon's program decides, because the configuration may name a
        // directory.
        let directory = self.dir().or(places.options.bundle.as_ref());
        let directory = directory.map(|it| std::path::absolute(it).unwrap_or_else(|_| it.clone()));
        let directory = directory.map(|it| ["--dir".into(), OsString::from(it)]);
        let arguments: Vec<_> = arguments
            .into_iter()
            .chain(directory.into_iter().flatten())
            .collect();
        let json = session.output.json.then(|| OsString::from("--json"));
        let arguments: Vec<_> = json.into_iter().chain(arguments).collect();
        Err(programs::become_program(program.as_os_str(), &arguments).into())
    }

    fn dir(&self) -> Option<&PathBuf> {
        let (Self::Build(Build { dir, .. })
        | Self::Fetch(Fetch { dir, .. })
        | Self::Package(Package { dir, .. })) = self;
        dir.as_ref()
    }

    fn arguments(&self, state: &Path, config: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        arguments.extend(["--state".into(), state.into()]);
        arguments.extend(["--config".into(), config.into(), "bundle".into()]);
        let verb = match self {
            Self::Build(_) => "build",
            Self::Fetch(_) => "fetch",
            Self::Package(_) => "package",
        };
        arguments.push(verb.into());
        let mut add = |option: &str, value: &Option<OsString>| {
            let value = value.as_ref();
            arguments.extend(value.into_iter().flat_map(|it| [option.into(), it.clone()]));
        };
        match self {
            Self::Build(build) => {
                add("--suite", &build.suite.clone().map(Into::into));
                add("--mirror", &build.mirror.clone().map(Into::into));
                let include = (!build.include.is_empty()).then(|| build.include.join(",").into());
                add("--include", &include);
            }
            Self::Fetch(fetch) => add("--manifest", &Some(fetch.manifest.clone().into())),
            Self::Package(package) => add("--out", &package.out.clone().map(Into::into)),
        }
        arguments
    }
}
