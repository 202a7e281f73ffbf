//! The paths of the daemon and its files, from the options and the environment.

use std::path::{Path, PathBuf};

use banger_api::configuration::Overrides;
use banger_api::location::{Location, LocationOptions};
use banger_api::{Code, Error, Result};

use crate::environment::Environment;
use crate::global::Global;
use crate::remote::{Contexts, Folders, LOCAL, Remote, contexts_file};

/// The longest path that a Unix socket can have, in bytes: `sun_path` without its final zero.
const LONGEST_SOCKET: usize = 107;

/// The paths, and the options that they come from.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The paths themselves.
    pub(crate) location: Location,
    /// The user's options; a daemon that this command starts gets the same.
    pub(crate) options: LocationOptions,
    /// Whether a daemon that this command starts is simulated.
    pub(crate) sim: bool,
    /// The search path for programs.
    pub(crate) search: Option<std::ffi::OsString>,
    /// The user who ran `sudo`, if this command was started by it.
    pub(crate) sudo_uid: Option<String>,
    /// The user's home.
    pub(crate) home: Option<PathBuf>,
    /// The user's runtime directory.
    pub(crate) runtime: Option<PathBuf>,
    /// The environment of a daemon that this command starts.
    pub(crate) of_a_daemon: Vec<(String, std::ffi::OsString)>,
    /// The configuration's keys that variables set.
    pub(crate) overrides: Overrides,
    /// The user's editor, by `VISUAL` or `EDITOR`.
    pub(crate) editor: Option<std::ffi::OsString>,
    /// The machine of the daemon, if it is another one. `location` is this machine's, except for
    /// the socket of a session that has connected.
    pub(crate) remote: Option<Remote>,
    /// Whether the user has a desktop, by `DISPLAY` or `WAYLAND_DISPLAY`.
    pub(crate) has_display: bool,
    /// The kind of the user's terminal, by `TERM`.
    pub(crate) term: Option<std::ffi::OsString>,
}

impl Paths {
    /// Finds the paths: an option overrides a variable, and a variable the default.
    ///
    /// # Errors
    /// If a home is needed and unknown, or the socket's path is too long for Linux.
    pub(crate) fn find(global: &Global, environment: &Environment) -> Result<Self> {
        let wish = |option: &Option<PathBuf>, variable: &str| {
            let path = option.clone().or_else(|| environment.path(variable));
            path.as_deref().map(absolute).transpose()
        };
        let options = LocationOptions {
            state: wish(&global.state, "BANGER_STATE")?,
            socket: wish(&global.socket, "BANGER_SOCKET")?,
            config: wish(&global.config, "BANGER_CONFIG")?,
            bundle: match wish(&global.bundle, "BANGER_RUNTIME_DIR")? {
                Some(bundle) => Some(bundle),
                None => wish(&None, "BANGER_BUNDLE")?,
            },
        };
        let location = Location::find(&options, |name| environment.path(name))?;
        check_length(&location.socket)?;
        let remote = find_remote(global, environment, &options, &location)?;
        Ok(Self {
            location,
            options,
            sim: environment.is_on("BANGER_SIM") && remote.is_none(),
            remote,
            search: environment.get("PATH").cloned(),
            sudo_uid: environment
                .get("SUDO_UID")
                .and_then(|it| it.to_str())
                .map(str::to_owned),
            home: environment.path("HOME"),
            runtime: environment.path("XDG_RUNTIME_DIR"),
            of_a_daemon: environment.of_a_daemon(),
            overrides: environment.overrides().clone(),
            has_display: ["DISPLAY", "WAYLAND_DISPLAY"]
                .iter()
                .any(|name| environment.get(name).is_some()),
            term: environment.get("TERM").cloned(),
            editor: environment
                .get("VISUAL")
                .or_else(|| environment.get("EDITOR"))
                .cloned(),
        })
    }
}

impl Paths {
    /// The machine that a user calls `name`; `None` for this one.
    ///
    /// # Errors
    /// `invalid` if it is neither a named host nor a destination of ssh.
    pub(crate) fn find_host(&self, name: &str, contexts: &Contexts) -> Result<Option<Remote>> {
        let folders = folders(self.runtime.clone(), &self.location);
        Remote::find(name, contexts, &folders)
    }
}

/// The machine that the option, the variable or the file of named hosts selects.
fn find_remote(
    global: &Global,
    environment: &Environment,
    options: &LocationOptions,
    location: &Location,
) -> Result<Option<Remote>> {
    let variable = environment.get("BANGER_HOST");
    let variable = variable.map(|it| it.to_string_lossy().into_owned());
    let named = global.host.clone().or(variable);
    let is_local = |it: &String| it == LOCAL;
    if let Some(option) = option_of_this_machine(global)
        && named.as_ref().is_some_and(|it| !is_local(it))
    {
        return Err(Error::new(
            Code::Invalid,
            format!("`{option}` names a path of this machine, and the host is another one"),
        )
        .hint("omit one of them; for this machine: --host local"));
    }
    // A user who names a daemon of this machine means this machine.
    let is_here = options.state.is_some() || options.socket.is_some() || options.bundle.is_some();
    if named.as_ref().is_some_and(is_local) || (named.is_none() && is_here) {
        return Ok(None);
    }
    let contexts = Contexts::read(&contexts_file(&location.config))?;
    let Some(name) = named.or_else(|| contexts.current.clone()) else {
        return Ok(None);
    };
    let runtime = environment.path("XDG_RUNTIME_DIR");
    let folders = folders(runtime, location);
    Remote::find(&name, &contexts, &folders)
}

/// The folders of connections to other machines.
fn folders(runtime: Option<PathBuf>, location: &Location) -> Folders {
    Folders {
        runtime,
        state: location.state.clone(),
        kept: location.config.with_file_name("hosts"),
    }
}

/// An option that leads to a daemon of this machine.
fn option_of_this_machine(global: &Global) -> Option<&'static str> {
    let options = [
        ("--state", &global.state),
        ("--socket", &global.socket),
        ("--bundle", &global.bundle),
    ];
    let mut given = options.into_iter().filter(|(_, path)| path.is_some());
    given.next().map(|(option, _)| option)
}

/// An absolute path, because the daemon's working directory is another one.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|cause| {
        Error::new(
            Code::Invalid,
            format!("make `{}` an absolute path", path.display()),
        )
        .cause(cause.to_string())
    })
}

fn check_length(socket: &Path) -> Result<()> {
    let length = socket.as_os_str().len();
    if length <= LONGEST_SOCKET {
        return Ok(());
    }
    Err(Error::new(
        Code::Invalid,
        format!(
            "the path of the daemon's socket is {length} bytes long; Linux allows at most {LONGEST_SOCKET}: `{}`",
            socket.display()
        ),
    )
    .hint("set BANGER_SOCKET to a shorter path"))
}

/// The absolute path for the daemon, whose working directory is another one.
pub(crate) fn for_daemon(path: &Path) -> Result<String> {
    let invalid = |what: String| Error::new(Code::Invalid, what);
    let shown = path.display();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
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
            "{path:?} has characters that banger does not take in a path"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Environment {
        Environment::of(&[("HOME", "/home/ada"), ("BANGER_STATE", "/srv/state")])
    }

    #[test]
    fn an_option_comes_before_a_variable() {
        let global = Global {
            state: Some("/srv/other".into()),
            ..Global::default()
        };
        let places = Paths::find(&global, &home()).unwrap();
        assert_eq!(places.location.state, Path::new("/srv/other"));
        let places = Paths::find(&Global::default(), &home()).unwrap();
        assert_eq!(places.location.state, Path::new("/srv/state"));
        assert_eq!(
            places.location.socket,
            Path::new("/srv/state/run/bangerd.sock")
        );
    }

    #[test]
    fn a_relative_path_is_taken_from_the_working_directory() {
        let global = Global {
            state: Some("vms".into()),
            ..Global::default()
        };
        let places = Paths::find(&global, &home()).unwrap();
        assert_eq!(
            places.location.state,
            std::env::current_dir().unwrap().join("vms")
        );
    }

    #[test]
    fn a_socket_path_of_107_bytes_is_taken_and_of_108_refused_with_a_way_out() {
        let of_length = |length: usize| Global {
            socket: Some(format!("/{}", "s".repeat(length - 1)).into()),
            ..Global::default()
        };
        assert!(Paths::find(&of_length(107), &home()).is_ok());
        let error = Paths::find(&of_length(108), &home()).unwrap_err();
        assert!(error.message.contains("108 bytes"), "{error}");
        assert_eq!(error.hints, ["set BANGER_SOCKET to a shorter path"]);
    }
}
