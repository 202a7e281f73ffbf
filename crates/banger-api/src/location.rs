//! Where banger lives for one user, so that client and daemon look in the same places.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::{Code, Error, Result};

/// The places that client and daemon must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The state directory: VMs, images, keys, the daemon's log.
    pub state: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The bundle that `banger bundle build` makes and new VMs come from.
    pub bundle: PathBuf,
}

/// What a user may have said of the places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `--state`, `BANGER_STATE`.
    pub state: Option<PathBuf>,
    /// `--socket`, `BANGER_SOCKET`.
    pub socket: Option<PathBuf>,
    /// `--config`, `BANGER_CONFIG`.
    pub config: Option<PathBuf>,
    /// `--bundle`, `BANGER_BUNDLE`.
    pub bundle: Option<PathBuf>,
}

impl Location {
    /// Finds the places from what the user said and the environment that `lookup` reads
    /// (`HOME` and the XDG directories; <https://specifications.freedesktop.org/basedir-spec>).
    ///
    /// A state directory that was asked for has its socket within it, so that two of them never
    /// share a daemon.
    ///
    /// # Errors
    /// Where `HOME` is needed and not set, or a path is not absolute.
    pub fn find(wishes: &Wishes, lookup: impl Fn(&str) -> Option<PathBuf>) -> Result<Self> {
        let absolute = |name: &str| lookup(name).filter(|path| path.is_absolute());
        let home = |variable: &str, below: &str| {
            absolute(variable)
                .or_else(|| Some(absolute("HOME")?.join(below)))
                .map(|base| base.join("banger"))
                .ok_or_else(|| {
                    Error::new(
                        Code::Invalid,
                        format!("neither `HOME` nor `{variable}` is set"),
                    )
                    .hint("set HOME to your home directory")
                })
        };
        let state = match &wishes.state {
            Some(state) => state.clone(),
            None => home("XDG_STATE_HOME", ".local/state")?,
        };
        let socket = match (&wishes.socket, &wishes.state, absolute("XDG_RUNTIME_DIR")) {
            (Some(socket), _, _) => socket.clone(),
            (None, None, Some(runtime)) => runtime.join("banger/bangerd.sock"),
            (None, _, _) => state.join("run/bangerd.sock"),
        };
        let config = match &wishes.config {
            Some(config) => config.clone(),
            None => home("XDG_CONFIG_HOME", ".config")?.join("config.toml"),
        };
        let bundle = match &wishes.bundle {
            Some(bundle) => bundle.clone(),
            None => home("XDG_DATA_HOME", ".local/share")?.join("bundle"),
        };
        let location = Self {
            state,
            socket,
            config,
            bundle,
        };
        for path in [
            &location.state,
            &location.socket,
            &location.config,
            &location.bundle,
        ] {
            check(path)?;
        }
        Ok(location)
    }
}

/// Where a user's sockets are when `XDG_RUNTIME_DIR` does not say it, as after `su` and `sudo -u`:
/// `/run/user/<uid>`, if there is one that is this user's alone.
#[must_use]
pub fn usual_runtime(uid: u32) -> Option<PathBuf> {
    let usual = Path::new("/run/user").join(uid.to_string());
    is_private(&usual, uid).then_some(usual)
}

/// Whether a folder is this user's, and nobody else's to enter, as a runtime directory has to be
/// (<https://specifications.freedesktop.org/basedir-spec>).
fn is_private(folder: &Path, uid: u32) -> bool {
    folder
        .symlink_metadata()
        .is_ok_and(|it| it.is_dir() && it.uid() == uid && it.mode() & 0o077 == 0)
}

fn check(path: &Path) -> Result<()> {
    let text = path
        .to_str()
        .filter(|text| !text.chars().any(char::is_control));
    match text {
        Some(_) if path.is_absolute() => Ok(()),
        Some(text) => Err(Error::new(
            Code::Invalid,
            format!("`{text}` is not an absolute path"),
        )),
        None => Err(Error::new(
            Code::Invalid,
            format!("{path:?} has characters that banger does not take in a path"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<PathBuf> {
        match name {
            "HOME" => Some("/home/ada".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/1000".into()),
            _ => None,
        }
    }

    #[test]
    fn a_user_finds_everything_below_home_and_the_socket_in_the_runtime_directory() {
        let location = Location::find(&Wishes::default(), environment).unwrap();
        assert_eq!(location.state, Path::new("/home/ada/.local/state/banger"));
        assert_eq!(
            location.socket,
            Path::new("/run/user/1000/banger/bangerd.sock")
        );
        assert_eq!(
            location.config,
            Path::new("/home/ada/.config/banger/config.toml")
        );
        assert_eq!(
            location.bundle,
            Path::new("/home/ada/.local/share/banger/bundle")
        );
    }

    #[test]
    fn a_state_directory_of_ones_own_has_a_socket_of_its_own() {
        let wishes = Wishes {
            state: Some("/srv/vms".into()),
            ..Wishes::default()
        };
        let location = Location::find(&wishes, environment).unwrap();
        assert_eq!(location.socket, Path::new("/srv/vms/run/bangerd.sock"));
    }

    #[test]
    fn a_home_that_is_not_set_is_told() {
        let error = Location::find(&Wishes::default(), |_| None).unwrap_err();
        assert!(error.message.contains("HOME"), "{error}");
    }

    #[test]
    fn a_runtime_directory_is_its_users_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().metadata().unwrap().uid();
        let mode = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), permissions).unwrap();
        };
        mode(0o700);
        assert!(is_private(folder.path(), own));
        assert!(!is_private(folder.path(), own + 1));
        mode(0o750);
        assert!(!is_private(folder.path(), own));
        assert!(!is_private(&folder.path().join("none"), own));
    }
}
