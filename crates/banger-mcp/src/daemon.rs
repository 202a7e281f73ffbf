//! The daemon that the tools use. `banger` finds it and starts it.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use banger_api::client::Client;
use banger_api::{Code, Error, Result};

use crate::options::Options;

/// The location of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    socket: PathBuf,
    /// The options with which `banger` finds it.
    options: Vec<(&'static str, PathBuf)>,
}

impl Daemon {
    /// Finds the user's daemon, by the options and the environment.
    ///
    /// # Errors
    /// `not-ready` if `banger` cannot be run, or `banger`'s own error.
    pub(crate) fn find(options: &Options) -> Result<Self> {
        let named = [("--state", &options.state), ("--socket", &options.socket)];
        let named = named
            .into_iter()
            .filter_map(|(option, path)| Some((option, path.clone()?)))
            .collect();
        let daemon = Self {
            socket: PathBuf::new(),
            options: named,
        };
        let socket = daemon.ask_banger(&["daemon", "socket"], "find the daemon")?;
        Ok(Self {
            socket: PathBuf::from(socket.trim_end_matches('\n')),
            ..daemon
        })
    }

    /// Connects to the daemon, which is started if it does not run.
    ///
    /// # Errors
    /// `not-ready` if it cannot be started.
    pub(crate) fn connect(&self) -> Result<Client> {
        if UnixStream::connect(&self.socket).is_err() {
            self.ask_banger(&["daemon", "start"], "start the daemon")?;
        }
        Client::new(&self.socket)
    }

    /// Runs `banger` with these words, and returns what it prints.
    #[expect(
        clippy::disallowed_methods,
        reason = "it starts banger, and has no host crate"
    )]
    fn ask_banger(&self, words: &[&str], what: &str) -> Result<String> {
        let failed = |cause: String| {
            Error::new(Code::NotReady, what)
                .cause(cause)
                .hint(format!("try it in a terminal: banger {}", words.join(" ")))
        };
        let mut command = Command::new(program());
        command.args(["--host", "local"]);
        for (option, path) in &self.options {
            command.arg(option).arg(path);
        }
        let output = command
            .args(words)
            .output()
            .map_err(|cause| failed(format!("run banger: {cause}")))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() {
            return Ok(text(output.stdout));
        }
        Err(failed(text(output.stderr).trim().to_owned()))
    }
}

/// The path of `banger`: beside this program, else in PATH.
fn program() -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    beside
        .map(|folder| folder.join("banger"))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from("banger"))
}
