//! `banger dial-stdio`: connects standard input and output to the daemon of this machine.
//!
//! Commands with `--host` run it by ssh if the server forwards no sockets, and once for each new
//! connection. It can be the forced command of a key (`command="banger dial-stdio",restrict` in
//! `authorized_keys`): such a key reaches VMs, but no shell of the machine.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use banger_api::{Code, Error, Result};
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::output::error_as_json;
use crate::remote::GREETING;
use crate::session::Session;

/// Join standard input and output to the daemon, which is started if it is not running.
///
/// `banger --host` runs this on the other machine. The first line of the output is a greeting; what follows is the daemon's.
#[derive(Debug, Args)]
pub(crate) struct DialStdio {}

impl DialStdio {
    /// Copies until the daemon closes the stream.
    #[expect(clippy::unused_self, reason = "as the other verbs")]
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        // The greeting comes at once, however long the daemon takes to start.
        session.output.text(GREETING)?;
        let dialled = session.daemon().and_then(|client| {
            UnixStream::connect(client.socket()).map_err(|cause| {
                Error::new(
                    Code::NotReady,
                    format!("connect to `{}`", client.socket().display()),
                )
                .cause(cause.to_string())
            })
        });
        match dialled.and_then(|daemon| join(&daemon)) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => {
                // The other side reads it, and prints it as its own.
                error_as_json(&error);
                Err(Failure::Status(1))
            }
        }
    }
}

/// Copies both ways. The end of the input is passed on, and the daemon's answer is still copied
/// completely.
fn join(daemon: &UnixStream) -> Result<()> {
    let trouble = |cause: io::Error| {
        Error::new(Code::Host, "join standard input and output to the daemon")
            .cause(cause.to_string())
    };
    let duplicate = |fd: rustix::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
    let mut input = duplicate(rustix::stdio::stdin()).map_err(trouble)?;
    let mut output = duplicate(rustix::stdio::stdout()).map_err(trouble)?;
    let mut to_daemon = daemon.try_clone().map_err(trouble)?;
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let _ = copy(&mut input, &mut to_daemon);
            let _ = to_daemon.shutdown(Shutdown::Write);
        })
        .map_err(trouble)?;
    // The thread may still wait for input; the process ends without it.
    copy(&mut &*daemon, &mut output).map_err(trouble)
}

/// Copies until the end of the input, or until the output is closed.
///
/// # Errors
/// The output takes no more, other than by being closed: a full disk.
pub(crate) fn copy(from: &mut impl io::Read, to: &mut impl io::Write) -> io::Result<()> {
    let mut chunk = [0; 16 << 10];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => match to.write_all(&chunk[..read]).and_then(|()| to.flush()) {
                Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(cause) => return Err(cause),
                Ok(()) => {}
            },
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(()),
        }
    }
}
