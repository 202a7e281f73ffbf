//! VMs on another machine: `banger --host user@server vm …`.
//!
//! ```text
//! banger ─► x.s ─► ssh (master) ═══ network ═══ sshd ─► bangerd.sock ─► bangerd      usually
//! banger ─► x.1234.s ─► ssh ═════ network ═════ sshd ─► banger dial-stdio ─► bangerd  where sockets
//!                                                                                  are not forwarded
//! ```
//!
//! Either way the daemon there has a socket here, and all clients of a daemon connect to its path:
//! the typed client, streams that it upgrades, the screen. A request through the master takes less
//! than a millisecond more than one on the machine itself.
//!
//! The socket here is ssh's own, or this process's, in a directory that only this user can enter.
//! So the client's check of its peer's user passes, but says nothing about the other end. There,
//! sshd connects as the user who logged in, `banger dial-stdio` makes the same check, and the
//! daemon admits only its own user and root.
//!
//! A forwarded socket that answers is used as it is. If it does not, `banger dial-stdio` runs
//! there: it shows that banger is installed, starts the daemon as every command does, and carries
//! one request, whose answer has the daemon's version and socket. A forward to a missing socket
//! would only show as a reset connection.

mod contexts;
mod destination;
mod ferry;
mod files;
mod login;

mod master;
mod question;
mod relay;

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banger_api::{API_VERSION, Code, Error, Result};

use crate::output::Output;
use crate::poll;
use crate::programs::{SshEnd, SshProcess};
use crate::quote;

pub(crate) use contexts::{Context, Contexts, LOCAL, check_name, file as contexts_file};
pub(crate) use destination::Destination;
use files::Files;

pub(crate) use master::Prompts;

/// The first line of `banger dial-stdio`. Output of a login shell may come before it.
pub(crate) const GREETING: &str = "banger-dial-stdio 1\n";
/// The largest text before that line, in bytes.
const LARGEST_PREAMBLE: usize = 64 << 10;

/// How long a machine may take to answer through an existing master.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a daemon may take to start there.
const START_PATIENCE: Duration = Duration::from_secs(45);

/// The pause before a lost connection is tried again: the first, and the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The status of a shell for a program that it does not find.
const NOT_FOUND: i32 = 127;
/// The status of ssh's own failures.
const SSH_FAILED: i32 = 255;

/// Another machine.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// The user's name for it.
    name: String,
    destination: Destination,
    /// The program there, if it is not simply `banger`.
    program: Option<String>,
    files: Files,
    /// The folder for what outlives a connection: the client's key, and pinned host keys.
    kept: PathBuf,
}

/// The folders of connections.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// The user's runtime directory.
    pub(crate) runtime: Option<PathBuf>,
    /// The client's state directory.
    pub(crate) state: PathBuf,
    /// The folder of the client's key for VMs of other machines, and of their pinned host keys.
    pub(crate) kept: PathBuf,
}

impl Remote {
    /// Finds the machine that a user calls `name`: a named host, or a destination of ssh. `None`
    /// for `local`.
    ///
    /// # Errors
    /// `invalid` if it is neither.
    pub(crate) fn find(name: &str, contexts: &Contexts, folders: &Folders) -> Result<Option<Self>> {
        if name == LOCAL {
            return Ok(None);
        }
        let (destination, program) = match contexts.hosts.get(name) {
            Some(context) => (context.destination()?, context.program.clone()),
            None => (name.parse()?, None),
        };
        Ok(Some(Self {
            name: name.to_owned(),
            files: Files::new(folders.runtime.as_deref(), &folders.state, &destination),
            kept: folders.kept.clone(),
            destination,
            program,
        }))
    }

    /// The user's name for it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The path of the daemon's socket here, which may have no listener.
    pub(crate) fn forwarded_socket(&self) -> PathBuf {
        self.files.socket()
    }

    /// The command that a person types to log in there.
    pub(crate) fn ssh_command(&self) -> String {
        self.destination.command()
    }

    /// Connects, and starts the daemon there if it is not running. Returns the socket's path here.
    ///
    /// # Errors
    /// If ssh fails, banger is not installed there, its daemon does not start, or has another
    /// version of the API.
    pub(crate) fn connect(&self, prompts: Prompts) -> Result<PathBuf> {
        self.files.make_folder()?;
        if let Some(socket) = self.shared(|| {})? {
            return Ok(socket);
        }
        let _lock = self.files.lock()?;
        // Another command may have connected meanwhile. A master that still does not answer has a
        // dead network, such as that of a laptop before it slept.
        if let Some(socket) = self.shared(|| master::end(&self.files, &self.destination))? {
            return Ok(socket);
        }
        self.open(prompts)
    }

    /// Reconnects after a stream broke, however long it takes: a laptop that wakes has no network
    /// yet.
    pub(crate) fn return_to(&self, output: Output) {
        let name = &self.name;
        output.warning(&format!(
            "the connection to {name} is lost; connecting again"
        ));
        let mut pause = SHORTEST_PAUSE;
        loop {
            poll::pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            if self.connect(Prompts::Refused).is_ok() {
                break;
            }
        }
        output.note(&format!("connected to {name} again"));
    }

    /// The forwarded socket of an earlier command, if it leads to the daemon. `on_silence` runs if
    /// it accepts a request and does not answer.
    fn shared(&self, on_silence: impl FnOnce()) -> Result<Option<PathBuf>> {
        let socket = self.files.socket();
        match question::ask_socket(&socket, PATIENCE) {
            Ok(answer) => {
                self.require_version(answer.api)?;
                Ok(Some(socket))
            }
            Err(cause) => {
                if cause.kind() == ErrorKind::TimedOut {
                    on_silence();
                }
                Ok(None)
            }
        }
    }

    fn open(&self, prompts: Prompts) -> Result<PathBuf> {
        let is_there = master::is_there(&self.files, &self.destination);
        if is_there && self.files.no_forwarding().exists() {
            return relay::start(self);
        }
        let _ = fs::remove_file(self.files.no_forwarding());
        let (process, mut stream) = self.dial(prompts)?;
        let answer = question::ask(&mut stream, START_PATIENCE);
        drop(stream);
        let Ok(answer) = answer else {
            return Err(self.explain(&process.end()));
        };
        process.end();
        self.require_version(answer.api)?;
        let socket = self.files.socket();
        if master::forward(&self.files, &self.destination, &answer.socket)
            && question::ask_socket(&socket, PATIENCE).is_ok()
        {
            return Ok(socket);
        }
        // If this mark cannot be created, the next command tries a forward again.
        let _ = fs::File::create(self.files.no_forwarding());
        relay::start(self)
    }

    /// A stream to the daemon there, by `banger dial-stdio`.
    ///
    /// # Errors
    /// If ssh fails, or banger is not installed there.
    fn dial(&self, prompts: Prompts) -> Result<(SshProcess, UnixStream)> {
        let command = self.command(&["dial-stdio".into()]);
        let open = || master::open(&self.files, &self.destination, &command, prompts);
        // A new connection takes as long as the network and the user's typing.
        let patience = self.files.control().exists().then_some(PATIENCE);
        let (mut process, mut stream) = open()?;
        let mut greeted = hear_greeting(&mut stream, patience);
        if patience.is_some()
            && matches!(&greeted, Err(cause) if cause.kind() == ErrorKind::WouldBlock)
        {
            process.end();
            master::end(&self.files, &self.destination);
            (process, stream) = open()?;
            greeted = hear_greeting(&mut stream, None);
        }
        if greeted.is_ok() {
            return Ok((process, stream));
        }
        drop(stream);
        Err(self.explain(&process.end()))
    }

    /// The command line for the shell there that runs banger with these arguments.
    ///
    /// ssh runs commands without the user's profile, so the usual directories are added to PATH.
    /// `sh` does it, because the user's own shell may be any.
    fn command(&self, arguments: &[OsString]) -> OsString {
        let mut command = OsString::from("exec ");
        command.push(quote::command_line(&self.words(arguments)));
        command
    }

    /// The words of that command line.
    fn words(&self, arguments: &[OsString]) -> Vec<OsString> {
        const SCRIPT: &str =
            "PATH=$PATH:/usr/local/bin:$HOME/.local/bin:$HOME/.cargo/bin; export PATH; exec \"$@\"";
        let program = self.program.as_deref().unwrap_or("banger");
        // The host selected there does not apply to this command.
        let words = ["/bin/sh", "-c", SCRIPT, "sh", program, "--host", LOCAL].map(OsString::from);
        words.into_iter().chain(arguments.iter().cloned()).collect()
    }

    /// The arguments of an ssh that runs banger there with these arguments, on the user's terminal.
    pub(crate) fn run_there(
        &self,
        arguments: &[OsString],
        terminal: bool,
    ) -> Result<Vec<OsString>> {
        self.files.make_folder()?;
        let mut words: Vec<OsString> = vec![if terminal { "-t" } else { "-T" }.into()];
        words.extend(master::options(&self.files, Prompts::Allowed));
        words.extend(self.destination.arguments());
        words.push(self.command(arguments));
        Ok(words)
    }

    fn require_version(&self, theirs: u32) -> Result<()> {
        let name = &self.name;
        if theirs == API_VERSION {
            return Ok(());
        }
        let error = Error::new(
            Code::Conflict,
            format!(
                "the daemon on `{name}` uses version {theirs} of the API, this program version {API_VERSION}"
            ),
        );
        Err(if theirs > API_VERSION {
            error.hint("upgrade banger on this machine")
        } else {
            error.hint(format!(
                "upgrade banger on `{name}`, then end the old daemon (VMs keep running): {} banger daemon restart",
                self.ssh_command()
            ))
        })
    }

    /// The error of a `banger dial-stdio` that did not provide a stream.
    fn explain(&self, end: &SshEnd) -> Error {
        let name = &self.name;
        let lines = || {
            end.stderr
                .lines()
                .map(str::trim)
                .filter(|it| !it.is_empty())
        };
        let said = |error: Error| {
            let lines: Vec<&str> = lines().collect();
            let last = lines.iter().skip(lines.len().saturating_sub(5));
            last.fold(error, |error, line| error.cause(*line))
        };
        let own = lines()
            .rev()
            .find_map(|it| serde_json::from_str::<Error>(it).ok());
        match (end.status, own) {
            (Some(SSH_FAILED), _) => said(Error::new(
                Code::NotReady,
                format!("ssh does not reach `{name}`"),
            ))
            .hint(format!("try it alone: {}", self.ssh_command())),
            (Some(NOT_FOUND), _) => said(Error::new(
                Code::NotReady,
                format!("banger is not installed on `{name}`, or ssh commands do not find it"),
            ))
            .hint(format!("look for it there: {} command -v banger", self.ssh_command()))
            .hint(format!(
                "install it there, or name its place: banger host add NAME {} --program /path/to/banger",
                self.destination
            )),
            (Some(2), None) => said(Error::new(
                Code::Conflict,
                format!("the banger on `{name}` is too old to be used from here"),
            ))
            .hint(format!("upgrade banger on `{name}` to {}", env!("CARGO_PKG_VERSION"))),
            (_, Some(error)) => error.within(format!("reach the daemon on `{name}`")),
            (_, None) => said(Error::new(
                Code::NotReady,
                format!("what answers on `{name}` is not banger"),
            ))
            .hint(format!("see what it prints: {} banger dial-stdio", self.ssh_command())),
        }
    }
}

/// Replaces a file of the client's own atomically.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_file(file: &Path, text: &str) -> Result<()> {
    contexts::replace(file, text).map_err(|cause| {
        Error::new(Code::Host, format!("write `{}`", file.display())).cause(cause.to_string())
    })
}

/// Reads up to the greeting, past the output of the login shell there.
fn hear_greeting(stream: &mut UnixStream, patience: Option<Duration>) -> std::io::Result<()> {
    stream.set_read_timeout(patience)?;
    let mut heard = Vec::new();
    let mut byte = [0];
    // One byte at a time, because the next bytes are the daemon's.
    while heard.len() < LARGEST_PREAMBLE {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => heard.push(byte[0]),
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
        if heard.ends_with(GREETING.as_bytes()) {
            return stream.set_read_timeout(None);
        }
    }
    Err(ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
