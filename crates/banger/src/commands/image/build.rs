//! `banger image build`: executes the daemon's program, as `banger image import` does.

use std::ffi::OsString;
use std::path::PathBuf;

use banger_api::{ImageName, Mib};
use clap::Args;
use clap_complete::ArgValueCandidates;

use super::import;
use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// Build an image from another one, by a recipe.
///
/// A VM is created from the base, the recipe runs in it, and its system disk becomes the image, without host keys, machine-id, logs and caches. What the recipe downloads is fetched on this host; only apt downloads in the VM. The default recipe, without --recipe, installs the packages of packages.apt, mise, opencode, and tmux sessions that are saved and restored. After a failure only the log remains.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image build --name dev
  banger image build --name docker-dev --docker --size 8G
  banger image build --name mine --from docker-dev --recipe recipe.toml
  banger vm create --image docker-dev")]
pub(crate) struct Build {
    /// The image's name, of lower-case letters, digits, hyphens, dots and underscores.
    #[arg(long, short)]
    name: ImageName,

    /// The image to start from [default: `default_base_rootfs`, or the bundle's own].
    #[arg(long, value_name = "IMAGE", add = ArgValueCandidates::new(completion::images))]
    from: Option<ImageName>,

    /// Add Docker, with compose and buildx.
    #[arg(long)]
    docker: bool,

    /// A list of packages for apt, one a line, instead of the recipe's.
    #[arg(long, value_name = "FILE")]
    packages: Option<PathBuf>,

    /// A recipe instead of the default one.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,

    /// The size of its root file system, and the least system disk of its VMs [default: 4G, or the base's].
    #[arg(long)]
    size: Option<Mib>,

    /// Keep the VM where a step fails.
    #[arg(long)]
    keep_on_failure: bool,
}

impl Build {
    /// Executes the daemon's program, which downloads, and has the daemon build.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let mut own: Vec<OsString> = vec!["build".into(), format!("--name={}", self.name).into()];
        own.extend(self.from.iter().map(|it| format!("--from={it}").into()));
        own.extend(self.size.map(|it| format!("--size={it}").into()));
        for (option, path) in [("--packages", &self.packages), ("--recipe", &self.recipe)] {
            if let Some(path) = path {
                own.extend([option.into(), path.clone().into()]);
            }
        }
        own.extend(self.docker.then(|| "--docker".into()));
        own.extend(self.keep_on_failure.then(|| "--keep-on-failure".into()));
        import::become_bangerd(session, own)
    }
}
