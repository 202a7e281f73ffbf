//! The paths that client and daemon share for one user.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::{Code, Error, Result};

/// The paths that client and daemon must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The state directory: VMs, images, keys, the daemon's log.
    pub state: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The bundle that `banger bundle build` writes, and that new VMs are created from.
    pub bundle: PathBuf,
    /// The reason for this bundle, for a person.
    pub bundle_reason: String,
}

/// The paths that a user has set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocationOptions {
    /// `--state`, `BANGER_STATE`.
    pub state: Option<PathBuf>,
    /// `--socket`, `BANGER_SOCKET`.
    pub socket: Option<PathBuf>,
    /// `--config`, `BANGER_CONFIG`.
    pub config: Option<PathBuf>,
    /// `--bundle`, `BANGER_RUNTIME_DIR`.
    pub bundle: Option<PathBuf>,
}

impl Location {
    /// Derives the paths from the user's settings and the environment that `lookup` reads (`HOME`
    /// and the XDG directories; <https://specifications.freedesktop.org/basedir-spec>).
    ///
    /// The socket of an explicitly named state directory is inside it, so that two state
    /// directories never share a daemon.
    ///
    /// # Errors
    /// If `HOME` is needed and unknown, or a path is not absolute.
    pub fn find(
        wishes: &LocationOptions,
        lookup: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self> {
        let absolute = |name: &str| lookup(name).filter(|path| path.is_absolute());
        let home = |variable: &str, below: &str| {
            absolute(variable)
                .or_else(|| Some(absolute("HOME")?.join(below)))
                .map(|base| base.join("banger"))
                .ok_or_else(|| {
                    Error::new(
                        Code::Invalid,
                        format!("neither `HOME` nor `{variable}` is set, and the user has no home in the password database"),
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
        let (bundle, reason) = match &wishes.bundle {
            Some(bundle) => (bundle.clone(), "`--bundle` or BANGER_RUNTIME_DIR"),
            None => (
                home("XDG_DATA_HOME", ".local/share")?.join("bundle"),
                "your own",
            ),
        };
        let location = Self {
            state,
            socket,
            config,
            bundle,
            bundle_reason: reason.to_owned(),
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

/// The user's home directory in the password database (getpwuid(3)), for when `HOME` is not set.
#[must_use]
pub fn usual_home(uid: u32) -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(uid.into()).ok()??;
    Some(user.dir).filter(|home| home.is_absolute())
}

/// The directory of a user's sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// The directory, if there is one that only this user can enter.
    pub folder: Option<PathBuf>,
    /// The reason why `XDG_RUNTIME_DIR` is not used.
    pub passed_over: Option<String>,
}

impl Runtime {
    /// Chooses the directory for the value `named` of `XDG_RUNTIME_DIR`.
    ///
    /// If it is not set (after `su` and `sudo -u`), or names a directory that others own or can
    /// enter (after `sudo -E`), the choice is `/run/user/<uid>`, if that exists. An empty value
    /// means no directory.
    #[must_use]
    pub fn find(named: Option<PathBuf>, uid: u32) -> Self {
        Self::within(Path::new("/run/user"), named, uid)
    }

    fn within(all: &Path, named: Option<PathBuf>, uid: u32) -> Self {
        let usual = || Some(all.join(uid.to_string())).filter(|it| unfit(it, uid).is_none());
        let Some(named) = named else {
            return Self {
                folder: usual(),
                passed_over: None,
            };
        };
        if !named.is_absolute() {
            return Self::default();
        }
        match unfit(&named, uid) {
            None => Self {
                folder: Some(named),
                passed_over: None,
            },
            Some(why) => Self {
                folder: usual(),
                passed_over: Some(format!(
                    "XDG_RUNTIME_DIR is ignored: `{}` {why}",
                    named.display()
                )),
            },
        }
    }
}

/// The reason why a directory is unsuitable as a runtime directory, which must belong to this user
/// and be closed to all others (<https://specifications.freedesktop.org/basedir-spec>).
fn unfit(folder: &Path, uid: u32) -> Option<String> {
    let found = match folder.symlink_metadata() {
        Ok(found) => found,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            return Some("does not exist".to_owned());
        }
        Err(cause) => return Some(format!("cannot be examined: {cause}")),
    };
    let mode = found.mode() & 0o777;
    if !found.is_dir() {
        Some("is not a directory".to_owned())
    } else if found.uid() != uid {
        Some(format!("belongs to user {}", found.uid()))
    } else if mode & 0o077 != 0 {
        Some(format!("is open to others, mode {mode:03o}"))
    } else {
        None
    }
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
            format!("{path:?} has characters that banger does not accept in a path"),
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
        let location = Location::find(&LocationOptions::default(), environment).unwrap();
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
        let wishes = LocationOptions {
            state: Some("/srv/vms".into()),
            ..LocationOptions::default()
        };
        let location = Location::find(&wishes, environment).unwrap();
        assert_eq!(location.socket, Path::new("/srv/vms/run/bangerd.sock"));
    }

    #[test]
    fn a_missing_home_is_reported() {
        let error = Location::find(&LocationOptions::default(), |_| None).unwrap_err();
        assert!(error.message.contains("HOME"), "{error}");
    }

    #[test]
    fn a_runtime_directory_that_is_not_ones_own_is_passed_over_with_the_reason() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let all = folder.path();
        let own = all.metadata().unwrap().uid();
        let place = |name: &str, mode| {
            let path = all.join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let usual = place(&own.to_string(), 0o700);
        let find = |named: Option<&Path>| Runtime::within(all, named.map(Path::to_owned), own);
        let used = |folder: &Path| Runtime {
            folder: Some(folder.to_owned()),
            passed_over: None,
        };
        let private = place("private", 0o700);
        assert_eq!(find(Some(&private)), used(&private));
        assert_eq!(find(None), used(&usual));
        assert_eq!(find(Some(Path::new(""))), Runtime::default());

        let link = all.join("link");
        std::os::unix::fs::symlink(&private, &link).unwrap();
        for (named, why) in [
            (place("open", 0o750), "is open to others, mode 750"),
            (all.join("none"), "does not exist"),
            (link, "is not a directory"),
        ] {
            let found = find(Some(&named));
            assert_eq!(found.folder.as_deref(), Some(&*usual), "{named:?}");
            let reason = found.passed_over.unwrap();
            assert!(
                reason.ends_with(why) && reason.contains("XDG_RUNTIME_DIR"),
                "{reason}"
            );
        }
        let others = Runtime::within(all, Some(private), own + 1);
        assert_eq!(others.folder, None, "there is no usual one of that user");
        let reason = others.passed_over.unwrap();
        assert!(
            reason.ends_with(&format!("belongs to user {own}")),
            "{reason}"
        );
    }
}
