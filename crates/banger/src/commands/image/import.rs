//! `banger image import`: executes the daemon's program, as `banger bundle` does.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use banger_api::{ImageName, ImageView};
use clap::Args;

use crate::failure::Outcome;
use crate::programs;
use crate::session::Session;

/// Create an image from a root file system.
///
/// The source is an ext4 file system, a raw disk with partitions, a tar of all files, an OCI image layout (a directory or an archive), or what `docker save` writes; a file may be compressed with gzip, xz or zstd. docker://NAME is fetched from a registry. The source is neither mounted on this host nor passed to its programs. An archive of Debian or Ubuntu without systemd or sshd gets them, in a VM; what cannot boot is refused with the reason.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image import root.tar.zst --name mine
  docker save my-vm -o my-vm.tar && banger image import my-vm.tar --name my-vm
  banger image import docker://registry.example/my-vm:1.2 --name my-vm
  banger vm create --image mine")]
pub(crate) struct Import {
    /// The file, the directory of an OCI layout, or docker://[HOST/]NAME[:TAG][@sha256:DIGEST].
    source: PathBuf,

    /// The image's name, of lower-case letters, digits, hyphens, dots and underscores.
    #[arg(long, short)]
    name: ImageName,
}

impl Import {
    /// Executes the daemon's program, which converts the source and passes the result to the
    /// daemon.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        if let Some(remote) = &session.places.remote {
            let name = format!("--name={}", self.name);
            let verb = ["image".into(), "import".into(), name.into()];
            let image: ImageView = remote.send(&verb, &self.source, session.output)?;
            session.output.result(&image, || {
                format!("{} is an image of {}", image.name, remote.name())
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let source = self.source.clone().into();
        let own = [
            "import".into(),
            format!("--name={}", self.name).into(),
            "--".into(),
            source,
        ];
        become_bangerd(session, own)
    }
}

/// Executes the daemon's program, for a verb on images in this environment.
pub(super) fn become_bangerd(
    session: &Session,
    own: impl IntoIterator<Item = OsString>,
) -> Outcome {
    let bundle = session.daemon_view()?.bundle.clone();
    let places = &session.places;
    let program = programs::find_bangerd(places.search.as_deref())?;
    let location = &places.location;
    let mut arguments: Vec<OsString> = Vec::new();
    for (option, value) in [
        ("--state", location.state.as_os_str()),
        ("--socket", location.socket.as_os_str()),
        ("--config", location.config.as_os_str()),
        ("--bundle", OsStr::new(&bundle)),
    ] {
        arguments.extend([option.into(), value.to_owned()]);
    }
    arguments.extend(session.output.json.then(|| "--json".into()));
    arguments.push("image".into());
    arguments.extend(own);
    Err(programs::become_program(program.as_os_str(), &arguments).into())
}
