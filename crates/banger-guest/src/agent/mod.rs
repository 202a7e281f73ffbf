//! The agent, which answers the daemon while the guest runs.
//!
//! It may be killed at any time. It keeps no state that cannot be rebuilt, and the next agent
//! continues the conversation.

mod answer;
mod listening;
mod readiness;
mod status;
pub(crate) mod streams;
mod takeover;
mod usage;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

use banger_guest::protocol::{Event, GuestStatus, PendingAsk, Phase};
use rustix::event::{PollFd, PollFlags};

use crate::boot_record::BootRecord;
use crate::system::port::Port;
use crate::system::{clock, console, wait};
use readiness::Readiness;
use takeover::Takeover;
use worker::Worker;

pub(crate) use readiness::mark_booted;

/// The pause while the port, or a reader at its other end, is missing: the first, and the longest.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(200);

/// The longest wait while only the port can need attention.
const IDLE: Duration = Duration::from_secs(60);

/// Answers until the process is ended.
pub(crate) fn run() -> ExitCode {
    streams::serve_beside();
    let worker = match Worker::new() {
        Ok(worker) => worker,
        Err(cause) => {
            console::warn(&format!("the agent cannot wait for its own work: {cause}"));
            return ExitCode::FAILURE;
        }
    };
    let mut agent = Agent {
        record: BootRecord::read(),
        readiness: Readiness::new(),
        takeover: Takeover::new(),
        worker,
        port: None,
        pause: SHORTEST,
    };
    loop {
        agent.turn();
    }
}

struct Agent {
    record: BootRecord,
    readiness: Readiness,
    takeover: Takeover,
    worker: Worker,
    port: Option<Port>,
    pause: Duration,
}

impl Agent {
    fn standing(&self) -> GuestStatus {
        GuestStatus {
            phase: self.readiness.phase(),
            uptime_millis: clock::uptime_millis(),
        }
    }

    /// One round: checks readiness, waits for an event, and answers.
    fn turn(&mut self) {
        let standing = self.standing();
        if self.port.is_none() {
            self.port = Port::open(Some(standing));
        }
        if let Some(port) = &mut self.port {
            port.flush();
        }
        let hung_up = self.wait();
        if let Some(port) = self.port.as_mut().filter(|_| hung_up) {
            // Before any read, which may return the next daemon's hello already.
            port.hung_up();
        }
        self.takeover.look();
        if let Some(warning) = self.readiness.look() {
            console::warn(&warning);
            self.record.warnings.push(warning);
        }
        let became_ready = standing.phase != self.readiness.phase();
        let standing = self.standing();
        let asked = match &mut self.port {
            Some(port) => {
                let asked = port.attend(standing);
                if became_ready {
                    port.session().tell(Event::Phase(Phase::Ready));
                }
                asked
            }
            None => Vec::new(),
        };
        for asked in asked {
            self.begin(asked);
        }
        self.finish();
    }

    /// Waits for the port, the worker or the time of the next check; returns whether the port's
    /// other end is closed. Such a port is always ready to poll, so it is checked after growing
    /// pauses instead.
    fn wait(&mut self) -> bool {
        let longest = self.readiness.pause().unwrap_or(IDLE);
        let Some(port) = &self.port else {
            self.wait_without_port(longest);
            return false;
        };
        let mut all = port.polled();
        all.extend(self.others());
        wait::ready(&mut all, longest);
        let first = all[0].revents();
        if !Port::is_deserted(first) {
            self.pause = SHORTEST;
            return false;
        }
        self.wait_without_port(longest);
        true
    }

    /// The descriptors to wait for besides the port's.
    fn others(&self) -> impl Iterator<Item = PollFd<'_>> {
        let fds = std::iter::once(self.worker.fd())
            .chain(self.readiness.fd())
            .chain(self.takeover.fd());
        fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
    }

    fn wait_without_port(&mut self, longest: Duration) {
        let mut all: Vec<PollFd<'_>> = self.others().collect();
        wait::ready(&mut all, longest.min(self.pause));
        self.pause = (self.pause * 2).min(LONGEST);
    }

    fn begin(&mut self, asked: PendingAsk) {
        let phase = self.readiness.phase();
        if let Some(answer) = answer::answer(&asked.ask, phase, &self.record) {
            self.reply(&asked, answer);
            return;
        }
        let mounts = self.record.mounts.clone();
        if let Err(asked) = self.worker.start(asked, move || answer::sync(&mounts)) {
            self.reply(
                &asked,
                Err("the guest is still busy with the last sync".to_owned()),
            );
        }
    }

    fn finish(&mut self) {
        if let Some((asked, answer)) = self.worker.finished() {
            self.reply(&asked, answer);
        }
    }

    fn reply(&mut self, asked: &PendingAsk, answer: answer::Answered) {
        if let Some(port) = &mut self.port {
            port.session().answer(asked, answer);
            port.flush();
        }
    }
}
