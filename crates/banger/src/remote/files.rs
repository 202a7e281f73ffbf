//! The files of a connection: sockets in a directory that only this user can enter.
//!
//! A socket's path has at most 107 bytes, and ssh adds 17 to its master's path while it creates it.
//! So names are short, and if the runtime directory is too deep the directory is below `/tmp`.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use rustix::fs::FlockOperation;

use super::destination::Destination;

/// The longest path of a directory for these sockets, in bytes.
const LONGEST_FOLDER: usize = 107 - 17 - "/0123456789abcdef.ctl".len();

/// The files of the connection to one destination.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    folder: PathBuf,
    stem: String,
}

impl Files {
    /// The files in `runtime`, the user's runtime directory, or else in `state`. Nothing is created
    /// yet.
    pub(crate) fn new(runtime: Option<&Path>, state: &Path, destination: &Destination) -> Self {
        let own = runtime.map_or_else(|| state.join("run"), |it| it.join("banger"));
        let mut folder = own.join("hosts");
        if folder.as_os_str().len() > LONGEST_FOLDER {
            let uid = rustix::process::geteuid().as_raw();
            // One folder for each directory that is too long, because tests have many.
            let place = hash(folder.as_os_str().as_encoded_bytes());
            folder = PathBuf::from(format!("/tmp/banger-{uid}-{place}"));
        }
        Self {
            folder,
            stem: hash(destination.to_string().as_bytes()),
        }
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.stem))
    }

    /// The socket of ssh's master (`ControlPath`).
    pub(crate) fn control(&self) -> PathBuf {
        self.file("ctl")
    }

    /// The daemon's socket there, forwarded by ssh.
    pub(crate) fn socket(&self) -> PathBuf {
        self.file("s")
    }

    /// A mark that the server forwards no sockets.
    pub(crate) fn no_forwarding(&self) -> PathBuf {
        self.file("no-fwd")
    }

    /// The socket of this process, if the server forwards none.
    pub(crate) fn own_socket(&self) -> PathBuf {
        self.file(&format!("{}.s", std::process::id()))
    }

    /// The mark that a VM, in this run, has authorised the client's key.
    pub(crate) fn authorized(&self, vm: &str, run: &str) -> PathBuf {
        self.file(&format!("{vm}-{}", hash(run.as_bytes())))
    }

    /// The name of these files, which is the same for the same destination.
    pub(crate) fn stem(&self) -> &str {
        &self.stem
    }

    /// Creates the directory.
    ///
    /// # Errors
    /// If it cannot be created, or others own or can enter it.
    pub(crate) fn make_folder(&self) -> Result<()> {
        make_private(&self.folder)
    }

    /// Waits until no other command connects to this destination.
    ///
    /// # Errors
    /// If the lock's file cannot be created.
    pub(crate) fn lock(&self) -> Result<File> {
        let trouble = |cause: std::io::Error| {
            Error::new(
                Code::Host,
                format!("lock the connection in `{}`", self.folder.display()),
            )
            .cause(cause.to_string())
        };
        let file = File::create(self.file("lock")).map_err(trouble)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|cause| trouble(cause.into()))?;
        Ok(file)
    }

    /// Removes the sockets of processes that have ended.
    pub(crate) fn remove_stale_sockets(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name
                .strip_suffix(".s")
                .and_then(|rest| rest.split_once('.')?.1.parse().ok())
                .and_then(rustix::process::Pid::from_raw);
            let is_gone = process.is_some_and(|it| {
                rustix::process::test_kill_process(it) == Err(rustix::io::Errno::SRCH)
            });
            if is_gone {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Creates a directory that only this user can enter, or checks that it is one.
///
/// # Errors
/// If it cannot be created, or others own or can enter it.
pub(crate) fn make_private(folder: &Path) -> Result<()> {
    let trouble = |cause: String| {
        Error::new(
            Code::Host,
            format!(
                "use `{}` for connections to other machines",
                folder.display()
            ),
        )
        .cause(cause)
    };
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.map_err(|cause| trouble(cause.to_string()))?;
    let found = fs::symlink_metadata(folder).map_err(|cause| trouble(cause.to_string()))?;
    let uid = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        return Err(
            trouble("others own it or can enter it".to_owned()).hint(format!(
                "remove it, or make it yours alone: chmod 700 {}",
                folder.display()
            )),
        );
    }
    Ok(())
}

/// A short name of this text (FNV-1a), the same in every version of banger.
fn hash(text: &[u8]) -> String {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let folded = text.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{folded:016x}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn paths_are_short_enough_for_ssh_however_deep_the_runtime_directory_is() {
        let destination: Destination = "ada@lab".parse().unwrap();
        let deep = PathBuf::from(format!("/{}", "d".repeat(90)));
        for runtime in [Path::new("/run/user/1000"), &deep] {
            let files = Files::new(Some(runtime), Path::new("/state"), &destination);
            let length = files.control().as_os_str().len() + 17;
            assert!(length <= 107, "{length}: {files:?}");
            assert!(files.own_socket().as_os_str().len() <= 107, "{files:?}");
        }
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        make_private(&own).unwrap();
        make_private(&own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        let error = make_private(&own).unwrap_err();
        assert!(error.hints[0].contains("chmod 700"), "{error}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/root", &link).unwrap();
        make_private(&link).unwrap_err();
    }

    #[test]
    fn sockets_of_processes_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let destination: Destination = "lab".parse().unwrap();
        let files = Files::new(Some(folder.path()), folder.path(), &destination);
        files.make_folder().unwrap();
        let gone = files.file(&format!("{}.s", i32::MAX));
        for path in [&gone, &files.socket(), &files.own_socket()] {
            fs::write(path, "").unwrap();
        }
        files.remove_stale_sockets();
        assert!(!gone.exists());
        assert!(files.socket().exists() && files.own_socket().exists());
    }
}
