//! One command of `banger vm exec`: a process between the daemon's stream, which is its standard
//! input, and the command.
//!
//! The session ends with the command, or with the stream. In the latter case the command's process
//! group gets `SIGHUP`, and after a grace period `SIGTERM` and `SIGKILL`. Background processes of
//! the command keep running after it, as after a shell that exits.

pub(crate) mod account;
pub(crate) mod command;
pub(crate) mod kills;
pub(crate) mod process;
mod relay;

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use banger_guest::streams::{ExecFrame, ExecReader, ExecStart, MOST_WORDS};

use command::{Refusal, Request};
use kills::KillCounts;

/// The argument that selects this role of the program.
pub(crate) const ROLE: &str = "exec-session";

/// How long the frames up to the start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the session on standard input.
pub(crate) fn run() -> ExitCode {
    leave_agent();
    let Ok(stream) = take_stream() else {
        return ExitCode::FAILURE;
    };
    match serve(stream, KillCounts::of_guest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Takes the stream from standard input, which is empty afterwards.
pub(crate) fn take_stream() -> std::io::Result<UnixStream> {
    let stream = std::io::stdin().as_fd().try_clone_to_owned()?;
    if let Ok(null) = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR,
        rustix::fs::Mode::empty(),
    ) {
        let _ = rustix::stdio::dup2_stdin(&null);
    }
    Ok(UnixStream::from(stream))
}

/// Gives up the agent's protection from the kernel's out-of-memory killer, and leaves its cgroup, so that
/// the agent's limits do not apply. Without either there is nothing to do.
pub(crate) fn leave_agent() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    kills::join_sessions();
}

fn serve(mut stream: UnixStream, counts: impl FnOnce() -> KillCounts) -> std::io::Result<()> {
    let mut reader = ExecReader::default();
    let started = read_request(&mut stream, &mut reader).and_then(|request| {
        let running = command::start(&request, false, counts())?;
        Ok((running, request.start))
    });
    match started {
        Ok((running, start)) => relay::relay(stream, reader, running, &start),
        Err(Refusal { status, reason }) => {
            stream.write_all(&ExecFrame::Refusal(status, reason).encode())
        }
    }
}

/// Reads the frames up to the start.
pub(crate) fn read_request(
    stream: &mut UnixStream,
    reader: &mut ExecReader,
) -> Result<Request, Refusal> {
    let broken = |reason: &str| Refusal::new(command::CANNOT_RUN, reason);
    let deadline = Instant::now() + PATIENCE;
    let mut request = Request::default();
    let mut size = 0;
    let mut bytes = vec![0; 64 << 10];
    loop {
        while let Some(frame) = reader.next_frame().map_err(broken)? {
            match frame {
                ExecFrame::Word(word) => {
                    size += word.len() + size_of::<usize>();
                    request.words.push(word);
                }
                ExecFrame::Variable(variable) => {
                    size += variable.len() + size_of::<usize>();
                    request.variables.push(variable);
                }
                ExecFrame::Start(json) => {
                    request.start =
                        serde_json::from_slice::<ExecStart>(&json).map_err(|cause| {
                            broken(&format!("the start is not understood: {cause}"))
                        })?;
                    let _ = stream.set_read_timeout(None);
                    return Ok(request);
                }
                _ => return Err(broken("a frame came before the start")),
            }
            if size > MOST_WORDS {
                return Err(broken("the arguments and variables are larger than 8 MiB"));
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(broken("no start came within 60 seconds"));
        }
        let _ = stream.set_read_timeout(Some(left));
        match stream.read(&mut bytes) {
            Ok(count @ 1..) => reader.push(&bytes[..count]),
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return Err(broken("the stream ended before the start")),
        }
    }
}

#[cfg(test)]
mod tests;
