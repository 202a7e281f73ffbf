//! `banger bundle`: the daemon's program does it, and its options are passed on.

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

/// Make the bundle from Debian's packages: kernel, modules, root file system.
///
/// It is built aside and put into place when it is whole; until then, and when anything goes wrong, the old one stays. VMs that exist keep what they were made from. It needs mmdebstrap and e2fsprogs, a Debian mirror, and neither root nor a loop device.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger bundle build
  banger bundle build --suite bookworm --include nodejs,postgresql
  banger bundle build --mirror http://mirror.example/debian --dir ~/bundles/trixie")]
pub(crate) struct Build {
    /// Where to put it [default: where VMs take it from, see --bundle].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// The Debian release, such as trixie or bookworm.
    #[arg(long, value_name = "SUITE")]
    suite: Option<String>,

    /// The mirror to take packages from.
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,

    /// More packages for the root file system, with commas between them.
    #[arg(long, value_name = "PKG,…", value_delimiter = ',')]
    include: Vec<String>,
}

/// Take a bundle that somebody has made from where it lies: a server, or a file.
///
/// The manifest has the archive's address and its SHA-256, which is compared before anything is unpacked. The bundle is put into place when it is whole; until then, and when anything goes wrong, the old one stays. A download that was cut off goes on where it was. It goes through the proxies of the environment, and trusts what the system trusts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger bundle fetch --manifest runtime-bundle.toml
  banger bundle fetch --manifest dist/runtime-bundle.toml --dir ~/bundles/trixie")]
pub(crate) struct Fetch {
    /// The file that says where it is: `url` and `sha256`.
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,

    /// Where to put it [default: where VMs take it from, see --bundle].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Pack the bundle into one archive, for other machines, and print its SHA-256.
///
/// The same bundle gives the same archive, byte for byte. Beside it a manifest is written for `banger bundle fetch`.
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
    /// Becomes the daemon's program, which does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let places = &session.places;
        let program = programs::find_bangerd(places.search.as_deref())?;
        let arguments = self.arguments(&places.location.state, &places.location.config);
        // Without either the daemon's program decides: the configuration may name a place.
        let directory = self.dir().or(places.wishes.bundle.as_ref());
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
