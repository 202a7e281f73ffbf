//! The daemon's side of the conversation: blocking, over a Unix socket, with a deadline for each
//! step.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{
    Answer, Ask, Event, FromGuest, Hello, LineReader, PROTOCOL, Phase, ToGuest, Welcome, encode,
};

/// The pause before a silent guest gets another hello: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pause after another agent process has taken over inside the guest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// The reason why a guest did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// No answer came in time.
    #[error("the guest did not answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// The other end closed the channel: the machine has ended or, over a vsock, the process in
    /// the guest.
    #[error("the guest's channel is closed")]
    Closed,
    /// The guest rejected the ask.
    #[error("the guest refused: {0}")]
    Refused(String),
    /// The guest's build does not know the ask.
    #[error(
        "the guest program {version} does not support `{feature}`; restart the VM to update it"
    )]
    Unsupported {
        /// The ask's name.
        feature: &'static str,
        /// The version of the guest program.
        version: String,
    },
    /// This build does not know the answer.
    #[error("the guest's answer is unknown: {0}")]
    Unreadable(String),
    /// The channel failed.
    #[error("the guest's channel: {0}")]
    Stream(#[from] io::Error),
}

type Result<T> = std::result::Result<T, ConversationError>;

/// The daemon's side of the conversation.
///
/// It may be opened before the guest's kernel runs: frames wait in the socket until the guest opens
/// its port. A restarted agent continues the conversation. Memory is bounded, and deadlines hold,
/// whatever the guest sends.
#[derive(Debug)]
pub struct Conversation {
    stream: UnixStream,
    reader: LineReader,
    token: String,
    next_id: u64,
    welcome: Option<Welcome>,
    welcomes_due: u32,
}

impl Conversation {
    /// A conversation over a connected stream. `token` marks its frames: 1 to 64 hexadecimal
    /// digits, new for each conversation.
    #[must_use]
    pub fn new(stream: UnixStream, token: &str) -> Self {
        Self {
            stream,
            reader: LineReader::new(),
            token: token.to_owned(),
            next_id: 1,
            welcome: None,
            welcomes_due: 0,
        }
    }

    /// Waits for the guest's first answer.
    ///
    /// # Errors
    /// [`ConversationError::Silent`] at the deadline, [`ConversationError::Closed`] when the
    /// machine ends.
    pub fn hello(&mut self, deadline: Instant) -> Result<Welcome> {
        self.wait_phase(Phase::Initramfs, deadline)
    }

    /// Waits until the guest has reached this phase.
    ///
    /// # Errors
    /// Those of [`Conversation::hello`].
    pub fn wait_phase(&mut self, phase: Phase, deadline: Instant) -> Result<Welcome> {
        let hello = self.hello_line();
        self.until(deadline, &hello, |talk, _| {
            talk.welcome
                .clone()
                .filter(|welcome| welcome.phase >= phase)
                .map(Ok)
        })
    }

    /// Sends an ask and waits for its answer.
    ///
    /// # Errors
    /// Those of [`Conversation::hello`]; [`ConversationError::Unsupported`] without sending
    /// anything, and [`ConversationError::Refused`] with the guest's reason.
    pub fn ask(&mut self, ask: &Ask, deadline: Instant) -> Result<Answer> {
        let welcome = self.hello(deadline)?;
        if !welcome.supports(ask.feature()) {
            return Err(ConversationError::Unsupported {
                feature: ask.feature(),
                version: short(&welcome.version),
            });
        }
        let expected = self.next_id;
        self.next_id += 1;
        let frame = ToGuest::Ask {
            token: self.token.clone(),
            id: expected,
            ask: serde_json::to_value(ask).map_err(io::Error::from)?,
        };
        // With a hello, because the process that was greeted may have ended.
        let lines = [self.hello_line(), encode(&frame)].concat();
        self.until(deadline, &lines, |_, frame| match frame {
            Some(FromGuest::Answer { id, answer, .. }) if id == expected => Some(read(answer)),
            Some(FromGuest::Refusal { id, refusal, .. }) if id == expected => {
                Some(Err(ConversationError::Refused(short(&refusal))))
            }
            _ => None,
        })
    }

    fn hello_line(&self) -> Vec<u8> {
        let hello = Hello {
            token: self.token.clone(),
            protocol: PROTOCOL,
        };
        [b"\n".to_vec(), encode(&ToGuest::Hello { hello })].concat()
    }

    /// Sends `lines`, and again after growing pauses, until `found` returns a result.
    fn until<T>(
        &mut self,
        deadline: Instant,
        lines: &[u8],
        mut found: impl FnMut(&mut Self, Option<FromGuest>) -> Option<Result<T>>,
    ) -> Result<T> {
        let began = Instant::now();
        if let Some(result) = found(self, None) {
            return result;
        }
        let mut pause = FIRST_PAUSE;
        let mut again = began;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(ConversationError::Silent(now - began));
            }
            if now >= again {
                self.say(lines, deadline)?;
                again = now + pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            for frame in self.listen(again.min(deadline))? {
                if matches!(frame, FromGuest::Welcome { .. }) && !self.was_due() {
                    // Another process has taken over in the guest, and the previous one may have
                    // lost the ask. An ask is idempotent within one process.
                    again = again.min(now + SHORTEST_PAUSE);
                }
                if let Some(result) = found(self, Some(frame)) {
                    return result;
                }
            }
        }
    }

    /// Whether a welcome answers one of our hellos.
    fn was_due(&mut self) -> bool {
        let was_due = self.welcomes_due > 0;
        self.welcomes_due = self.welcomes_due.saturating_sub(1);
        was_due
    }

    fn say(&mut self, lines: &[u8], deadline: Instant) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.welcomes_due += 1;
        self.stream.set_write_timeout(Some(left(deadline)))?;
        match self.stream.write_all(lines) {
            Ok(()) => Ok(()),
            // No process reads yet. The next hello begins with a newline, which ends a partial
            // line.
            Err(cause) if is_timeout(&cause) => Ok(()),
            Err(cause) => Err(closed(cause)),
        }
    }

    /// The conversation's frames from one read, which waits at most until `until`.
    fn listen(&mut self, until: Instant) -> Result<Vec<FromGuest>> {
        let mut bytes = [0; 8192];
        self.stream.set_read_timeout(Some(left(until)))?;
        let count = match self.stream.read(&mut bytes) {
            Ok(0) => return Err(ConversationError::Closed),
            Ok(count) => count,
            Err(cause) if is_timeout(&cause) => 0,
            Err(cause) => return Err(closed(cause)),
        };
        let mut frames = Vec::new();
        self.reader.push(&bytes[..count], |line| {
            let frame = serde_json::from_slice::<FromGuest>(line).ok();
            frames.extend(frame.filter(|frame| frame.token() == self.token));
        });
        frames.iter().for_each(|frame| self.note(frame));
        Ok(frames)
    }

    fn note(&mut self, frame: &FromGuest) {
        match frame {
            FromGuest::Welcome { welcome, .. } => self.welcome = Some(welcome.clone()),
            FromGuest::Event {
                event: Event::Phase(phase),
                ..
            } => {
                if let Some(welcome) = &mut self.welcome {
                    welcome.phase = *phase;
                }
            }
            FromGuest::Event { .. } | FromGuest::Answer { .. } | FromGuest::Refusal { .. } => {}
        }
    }
}

fn read(answer: serde_json::Value) -> Result<Answer> {
    serde_json::from_value(answer)
        .map_err(|cause| ConversationError::Unreadable(short(&cause.to_string())))
}

/// At least 1 ms: zero would mean no timeout.
fn left(until: Instant) -> Duration {
    until
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

fn is_timeout(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn closed(cause: io::Error) -> ConversationError {
    if matches!(
        cause.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    ) {
        return ConversationError::Closed;
    }
    ConversationError::Stream(cause)
}

/// A guest's text shortened for a message: one line of at most 300 characters.
fn short(words: &str) -> String {
    words
        .chars()
        .filter(|letter| !letter.is_control())
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests;
