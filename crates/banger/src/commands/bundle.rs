//! `banger bundle`: the daemon's program makes it, and its options are passed on.

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

impl Verb {
    /// Becomes the daemon's program, which does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let Self::Build(build) = self;
        let places = &session.places;
        let program = programs::find_bangerd(places.search.as_deref())?;
        // Without either the daemon's program decides: the configuration may name a place.
        let directory = build.dir.clone().or_else(|| places.wishes.bundle.clone());
        let directory = directory.map(|it| std::path::absolute(&it).unwrap_or(it));
        let mut arguments = build.arguments(directory, &places.location.config);
        if session.output.json {
            arguments.insert(0, "--json".into());
        }
        Err(programs::become_program(program.as_os_str(), &arguments).into())
    }
}

impl Build {
    fn arguments(&self, directory: Option<PathBuf>, config: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            "--config".into(),
            config.into(),
            "bundle".into(),
            "build".into(),
        ];
        if let Some(directory) = directory {
            arguments.extend(["--dir".into(), directory.into()]);
        }
        let mut add = |option: &str, value: &str| arguments.extend([option.into(), value.into()]);
        if let Some(suite) = &self.suite {
            add("--suite", suite);
        }
        if let Some(mirror) = &self.mirror {
            add("--mirror", mirror);
        }
        if !self.include.is_empty() {
            add("--include", &self.include.join(","));
        }
        arguments
    }
}
