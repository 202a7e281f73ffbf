//! `banger image import`: this process becomes the daemon's program, as for `banger bundle`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use banger_api::ImageName;
use clap::Args;

use crate::failure::Outcome;
use crate::programs;
use crate::session::Session;

/// Make an image of a root file system that others have made.
///
/// The source is an ext4 file system, a raw disk with partitions, a tar of all files, an OCI image layout (a directory or an archive), or what `docker save` writes; a file may be compressed with gzip, xz or zstd. It is neither mounted on this host nor given to a program of it. It must hold systemd and sshd for this processor; what cannot boot is refused with the reason.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image import root.tar.zst --name mine
  docker save my-vm -o my-vm.tar && banger image import my-vm.tar --name my-vm
  banger vm create --image mine")]
pub(crate) struct Import {
    /// The file, or the directory of an OCI layout.
    source: PathBuf,

    /// The image's name, of lower-case letters, digits, hyphens, dots and underscores.
    #[arg(long, short)]
    name: ImageName,
}

impl Import {
    /// Becomes the daemon's program, which does the work and has the daemon take what comes of it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
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
        arguments.extend(["image".into(), "import".into()]);
        arguments.extend([format!("--name={}", self.name).into(), "--".into()]);
        arguments.push(self.source.clone().into());
        Err(programs::become_program(program.as_os_str(), &arguments).into())
    }
}
<<<<<<< HEAD
=======

/// The path as the daemon, whose directory is another, has to be told it.
pub(super) fn absolute(path: &std::path::Path) -> Result<String, Error> {
    let invalid = |what: String| Error::new(Code::Invalid, what);
    let shown = path.display();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| invalid(format!("`{shown}` is not the name of a file")))?;
    let folder = folder.canonicalize().map_err(|cause| {
        let error = Error::new(Code::NotFound, format!("there is no folder for `{shown}`"));
        error.cause(cause.to_string())
    })?;
    let path = folder.join(name);
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        invalid(format!(
            "{path:?} has characters that banger does not accept in a path"
        ))
    })
}
>>>>>>> fb6d755 (messages, tests: plain words; variables and test names say what they are)
