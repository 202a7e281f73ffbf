//! Jobs: commands that outlive the stream that started them.
//!
//! ```text
//! agent ─ stream ─► supervisor ─► command        one process of ours beside each job
//!   │                  │    └───► output         kept in /run/banger/jobs
//!   └ stream ─────── socket                      a client that attaches
//! ```
//!
//! The agent keeps no state of jobs: it reads what supervisors have written, and passes clients to
//! them. So the end of an agent or of a daemon does not affect a job.

mod call;
mod output;
mod store;
mod supervisor;
mod visitor;

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use banger_guest::protocol::encode;
use banger_guest::streams::{
    AttachStart, ExecFrame, ExecReader, Job, JobAsk, JobName, JobReply, JobState,
};

use crate::exec::command::CANNOT_RUN;
use crate::exec::process::GRACE;
use crate::system::wait;
use call::{Call, call};
use output::{Cursor, newest};
use store::Store;
use visitor::description;

pub(crate) use supervisor::{ROLE, run};

/// How long a client may take to send its start frame.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of attempts for a job that is just ending.
const LOOKS: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Writes the list of all jobs to the stream.
pub(crate) fn list(stream: &mut UnixStream) -> io::Result<()> {
    stream.write_all(&encode(&Store::of_guest().list()))
}

/// Executes the ask in a line, and answers.
pub(crate) fn ask(stream: &mut UnixStream, line: &[u8]) -> io::Result<()> {
    let reply = match serde_json::from_slice(line) {
        Ok(ask) => obey(&Store::of_guest(), &ask),
        Err(cause) => JobReply::Refused(format!("the request is not understood: {cause}")),
    };
    stream.write_all(&encode(&reply))
}

fn obey(store: &Store, ask: &JobAsk) -> JobReply {
    let failed = |cause: io::Error| JobReply::Refused(cause.to_string());
    match ask {
        JobAsk::Prune => store.prune(0).map_or_else(failed, JobReply::Done),
        JobAsk::Signal { job, number } => match store.find(job) {
            None => JobReply::Unknown,
            Some(job) if job.state == JobState::Running => {
                match call(&store.socket(&job.id), &Call::Signal(*number)) {
                    Ok(()) => JobReply::Done(vec![job]),
                    Err(_) => JobReply::Refused(format!("{} has just ended", job.id)),
                }
            }
            Some(job) => JobReply::Refused(format!("{} has ended", job.id)),
        },
        JobAsk::Remove { job, force } => match store.find(job) {
            None => JobReply::Unknown,
            Some(job) => remove(store, job, *force),
        },
    }
}

fn remove(store: &Store, mut job: Job, force: bool) -> JobReply {
    if job.state == JobState::Running {
        if !force {
            return JobReply::Refused(format!("{} runs", job.id));
        }
        let _ = call(&store.socket(&job.id), &Call::Signal(9));
        let ended = wait::until(2 * GRACE, || {
            store
                .find(&job.id)
                .filter(|job| job.state != JobState::Running)
        });
        match ended {
            Some(ended) => job = ended,
            None => return JobReply::Refused(format!("{} does not end", job.id)),
        }
    }
    match store.remove(&job.id) {
        Ok(true) => JobReply::Done(vec![job]),
        // Another client was faster.
        Ok(false) => JobReply::Unknown,
        Err(cause) => JobReply::Refused(cause.to_string()),
    }
}

/// Attaches the stream to the job that a line names: passes it to the supervisor, or sends the kept
/// output of an ended job.
pub(crate) fn attach(stream: UnixStream, line: &[u8]) -> io::Result<()> {
    attach_in(&Store::of_guest(), stream, line)
}

fn attach_in(store: &Store, mut stream: UnixStream, line: &[u8]) -> io::Result<()> {
    let refuse = |mut stream: UnixStream, reason: String| {
        stream.write_all(&ExecFrame::Refusal(CANNOT_RUN, reason).encode())?;
        part(&mut stream)
    };
    let Ok(JobName { job: wanted }) = serde_json::from_slice(line) else {
        return refuse(stream, "the request is not understood".to_owned());
    };
    for _ in 0..LOOKS {
        let Some(job) = store.find(&wanted) else {
            let wanted = wanted.escape_debug();
            return refuse(stream, format!("the VM has no job `{wanted}`"));
        };
        if job.state != JobState::Running {
            return replay(&mut stream, store, &job);
        }
        let theirs = Call::Attach(stream.try_clone()?.into());
        if call(&store.socket(&job.id), &theirs).is_ok() {
            return Ok(());
        }
        wait::ready(&mut [], PAUSE);
    }
    refuse(stream, format!("the job `{wanted}` does not answer"))
}

/// Sends the kept output of an ended job.
fn replay(stream: &mut UnixStream, store: &Store, job: &Job) -> io::Result<()> {
    let start = read_start(stream)?;
    stream.write_all(&description(job).encode())?;
    let folder = store.output(&job.id);
    let last = newest(&folder);
    let mut cursor = Cursor::new(folder);
    while let Some(frame) = cursor.next(last)? {
        stream.write_all(&frame.encode())?;
    }
    let end = match job.state.status() {
        _ if !start.follow => description(job),
        Some(status) => ExecFrame::Exit(status),
        None => {
            let reason = format!("{} is lost: its supervisor was killed", job.id);
            ExecFrame::Refusal(CANNOT_RUN, reason)
        }
    };
    stream.write_all(&end.encode())?;
    part(stream)
}

fn read_start(stream: &mut UnixStream) -> io::Result<AttachStart> {
    let mut reader = ExecReader::default();
    let mut bytes = [0; 4096];
    stream.set_read_timeout(Some(PATIENCE))?;
    loop {
        match reader.next_frame().map_err(io::Error::other)? {
            Some(ExecFrame::Start(json)) => return Ok(serde_json::from_slice(&json)?),
            Some(_) => return Err(io::Error::other("a frame came before the start")),
            None => match stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => reader.push(&bytes[..count]),
            },
        }
    }
}

/// Ends the stream. It reads what the client still sends, because closing with unread bytes could
/// cut off the last frame.
fn part(stream: &mut UnixStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(GRACE))?;
    let mut bytes = [0; 16 << 10];
    while matches!(stream.read(&mut bytes), Ok(1..)) {}
    Ok(())
}

#[cfg(test)]
mod tests;
