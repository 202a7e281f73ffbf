//! The process beside a job: it keeps the job's output, serves attached clients, and records the
//! end.
//!
//! It depends on no other process: the agent, its streams and the daemon may end. If it is killed
//! itself, its command gets `SIGTERM`, and the job is lost.

use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, io};

use banger_guest::streams::{ExecFrame, ExecReader, Job, JobState};
use rustix::event::{PollFd, PollFlags};

use super::call::{self, Call};
use super::output::Output;
use super::store::{JobFolder, Record, Store};
use super::visitor::{Visitor, description};
use crate::exec::command::{self, Refusal, Request};
use crate::exec::kills::KillCounts;
use crate::exec::process::Process;
use crate::exec::{leave_agent, read_request, take_stream};
use crate::system::{clock, wait};

/// The argument that selects this role of the program.
pub(crate) const ROLE: &str = "job-supervisor";

/// The maximum number of clients that are attached to a job.
const MOST_VISITORS: usize = 16;

/// The maximum number of reads for the last output of an ended command.
const LAST_READS: usize = 64;

/// How long clients that read nothing keep the supervisor of an ended job. They then lose the
/// connection, and the output is still kept.
const LAST_PATIENCE: Duration = Duration::from_secs(600);

/// The maximum number of letters of all words that are shown, and of each word.
const LONGEST_COMMAND: usize = 1024;
const LONGEST_WORD: usize = 200;

/// Makes a job of the request on standard input, and supervises it until it ends.
pub(crate) fn run() -> ExitCode {
    leave_agent();
    // It has no terminal, and signals to other groups do not reach it.
    let _ = rustix::process::setsid();
    let Ok(stream) = take_stream() else {
        return ExitCode::FAILURE;
    };
    match serve(stream, &Store::of_guest(), KillCounts::of_guest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Starts the job, reports it on the stream, and closes the stream.
pub(super) fn serve(
    mut stream: UnixStream,
    store: &Store,
    counts: impl FnOnce() -> KillCounts,
) -> io::Result<()> {
    use std::io::Write as _;
    let mut reader = ExecReader::default();
    let begun =
        read_request(&mut stream, &mut reader).and_then(|request| begin(&request, store, counts()));
    match begun {
        Ok(mut supervisor) => {
            // If the client has gone, the job runs all the same.
            let _ = stream.write_all(&description(&supervisor.record.job).encode());
            let _ = stream.shutdown(std::net::Shutdown::Write);
            drop(stream);
            supervisor.run()?;
            store.make_room();
            Ok(())
        }
        Err(Refusal { status, reason }) => {
            stream.write_all(&ExecFrame::Refusal(status, reason).encode())
        }
    }
}

fn begin(request: &Request, store: &Store, counts: KillCounts) -> Result<Supervisor, Refusal> {
    let refused = |reason: String| Refusal::new(command::CANNOT_RUN, &reason);
    store.make_room();
    let folder = store
        .allot(request.start.name.as_deref())
        .map_err(refused)?;
    match Supervisor::start(request, folder, counts) {
        Ok(supervisor) => Ok(supervisor),
        Err((folder, refusal)) => {
            folder.give_up();
            Err(refusal)
        }
    }
}

/// A running job.
struct Supervisor {
    folder: JobFolder,
    record: Record,
    process: Process,
    output: Output,
    listener: UnixListener,
    visitors: Vec<Visitor>,
}

impl Supervisor {
    fn start(
        request: &Request,
        folder: JobFolder,
        counts: KillCounts,
    ) -> Result<Self, (JobFolder, Refusal)> {
        let failed = |cause: &io::Error| {
            Refusal::new(command::CANNOT_RUN, &format!("keep the job: {cause}"))
        };
        let prepared = Output::new(folder.output()).and_then(|output| {
            let listener = UnixListener::bind(folder.socket())?;
            fs::set_permissions(folder.socket(), fs::Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            Ok((output, listener))
        });
        let (output, listener) = match prepared {
            Ok(prepared) => prepared,
            Err(cause) => return Err((folder, failed(&cause))),
        };
        let mut running = match command::start(request, true, counts) {
            Ok(running) => running,
            Err(refusal) => return Err((folder, refusal)),
        };
        // From now on, out of memory, the kernel kills the command rather than its supervisor.
        let _ = fs::write("/proc/self/oom_score_adj", "-900");
        if !request.start.input {
            running.stdin = None;
        }
        let timeout = request.start.timeout_millis.map(Duration::from_millis);
        let process = match Process::new(running, timeout) {
            Ok(process) => process,
            Err(cause) => return Err((folder, failed(&cause))),
        };
        let record = Record {
            job: describe(request, &folder.id, process.pid()),
            started_uptime_millis: clock::uptime_millis(),
        };
        if let Err(cause) = folder.write(&record) {
            process.signal(9);
            return Err((folder, failed(&cause)));
        }
        Ok(Self {
            folder,
            record,
            process,
            output,
            listener,
            visitors: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            self.process.end_if_due();
            let taken = self.process.write_input();
            if let Some(writer) = self.visitors.iter_mut().find(|it| it.writes()) {
                writer.give_room(taken);
            }
            self.serve_visitors(None);
            if self.wait() {
                break;
            }
            self.accept();
            for frame in self.process.read_output() {
                self.output.append(&frame);
            }
        }
        let state = self.process.wait()?;
        self.finish(state)
    }

    /// Whether the command has ended.
    fn wait(&self) -> bool {
        let mut fds = self.process.polled(true);
        fds.push(PollFd::from_borrowed_fd(
            self.listener.as_fd(),
            PollFlags::IN,
        ));
        fds.extend(self.visitors.iter().map(Visitor::polled));
        wait::ready(&mut fds, self.process.patience());
        !fds[0].revents().is_empty()
    }

    /// Reads frames of clients, and sends them output; returns whether any was sent.
    fn serve_visitors(&mut self, end: Option<&ExecFrame>) -> bool {
        let mut any = false;
        for index in 0..self.visitors.len() {
            let frames = self.visitors[index].read();
            for frame in frames {
                let mut others = self.visitors.iter().enumerate();
                let is_taken = others.any(|(other, it)| other != index && it.writes());
                self.visitors[index].obey(
                    frame,
                    &self.record.job,
                    &mut self.process,
                    self.output.written(),
                    is_taken,
                );
            }
            any |= self.visitors[index].advance(&self.output, &self.record.job, end);
        }
        self.visitors.retain(|visitor| !visitor.is_gone());
        any
    }

    fn accept(&mut self) {
        while let Ok((connection, _)) = self.listener.accept() {
            match call::read(&connection) {
                Ok(Call::Signal(number)) => self.process.signal(number),
                Ok(Call::Attach(stream)) if self.visitors.len() < MOST_VISITORS => {
                    match Visitor::new(stream, self.folder.output()) {
                        Ok(visitor) => self.visitors.push(visitor),
                        Err(_) => continue,
                    }
                }
                Ok(Call::Attach(stream)) => turn_away(stream),
                Err(_) => continue,
            }
            call::obeyed(&connection);
        }
    }

    /// Stores the last output of the command, records the end, and reports it to attached clients.
    fn finish(&mut self, state: JobState) -> io::Result<()> {
        for _ in 0..LAST_READS {
            let frames = self.process.read_output();
            if frames.is_empty() {
                break;
            }
            for frame in frames {
                self.output.append(&frame);
            }
        }
        let uptime = clock::uptime_millis();
        self.record.job.state = state;
        self.record.job.oom_killed = self.process.oom_killed();
        self.record.job.run_millis = uptime.saturating_sub(self.record.started_uptime_millis);
        self.folder.write(&self.record)?;
        // From now on the agent serves new clients from the kept output.
        fs::remove_file(self.folder.socket())?;
        let end = ExecFrame::Exit(state.status().unwrap_or(command::CANNOT_RUN));
        let mut idle_since = Instant::now();
        loop {
            if self.serve_visitors(Some(&end)) {
                idle_since = Instant::now();
            }
            if self.visitors.is_empty() || idle_since.elapsed() > LAST_PATIENCE {
                return Ok(());
            }
            let mut fds: Vec<PollFd<'_>> = self.visitors.iter().map(Visitor::polled).collect();
            wait::ready(&mut fds, Duration::from_secs(1));
        }
    }
}

fn turn_away(stream: std::os::fd::OwnedFd) {
    use std::io::Write as _;
    let mut stream = UnixStream::from(stream);
    let reason = format!("{MOST_VISITORS} clients are attached to this job already");
    let refusal = ExecFrame::Refusal(command::CANNOT_RUN, reason);
    let _ = stream.set_nonblocking(true);
    let _ = stream.write_all(&refusal.encode());
}

fn describe(request: &Request, id: &str, pid: u32) -> Job {
    let start = &request.start;
    Job {
        id: id.to_owned(),
        name: start.name.clone(),
        command: bounded_words(&request.words),
        user: start.user.clone().unwrap_or_else(|| "root".to_owned()),
        pid,
        started_unix_millis: clock::unix_nanos() / 1_000_000,
        run_millis: 0,
        state: JobState::Running,
        terminal: start.terminal.is_some(),
        input: start.input || start.terminal.is_some(),
        oom_killed: None,
    }
}

/// The words as text, within the limits.
fn bounded_words(words: &[Vec<u8>]) -> Vec<String> {
    let mut left = LONGEST_COMMAND;
    let mut shown = Vec::new();
    for word in words {
        if left == 0 {
            shown.push("…".to_owned());
            break;
        }
        let text = String::from_utf8_lossy(word);
        let most = LONGEST_WORD.min(left);
        let mut cut: String = text.chars().take(most).collect();
        if cut.len() < text.len() {
            cut.push('…');
        }
        left = left.saturating_sub(cut.chars().count() + 1);
        shown.push(cut);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_shown_in_part() {
        let words = |text: &str| vec![text.as_bytes().to_vec()];
        assert_eq!(bounded_words(&words("a b")), ["a b"]);
        let long = bounded_words(&words(&"x".repeat(1 << 17)));
        assert_eq!(long[0].chars().count(), LONGEST_WORD + 1);
        let many = bounded_words(&vec![b"yes".to_vec(); 100_000]);
        assert_eq!(many.last().unwrap(), "…");
        assert!(many.concat().len() < 2 * LONGEST_COMMAND);
    }
}
