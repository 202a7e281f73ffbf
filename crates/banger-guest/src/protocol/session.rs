//! The guest's side of the conversation: a state machine without I/O.

use super::{
    Answer, Ask, Event, FEATURES, FromGuest, LONGEST_LINE, LineReader, PROTOCOL, Phase,
    STREAMS_FEATURE, ToGuest, Welcome, encode,
};

/// The maximum number of bytes that wait to be sent; beyond that, the daemon counts as gone.
const MOST_WAITING: usize = 4 * LONGEST_LINE;

/// The longest valid token.
const LONGEST_TOKEN: usize = 64;

/// The guest's constant properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The version of the guest program.
    pub version: String,
    /// The kernel's boot id.
    pub boot_id: String,
}

/// The guest's current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestStatus {
    /// How far it has booted.
    pub phase: Phase,
    /// The time since its kernel started, in milliseconds.
    pub uptime_millis: u64,
}

/// An ask that awaits [`Session::answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAsk {
    /// The conversation's token.
    pub token: String,
    /// Its number in that conversation.
    pub id: u64,
    /// The ask.
    pub ask: Ask,
}

/// The last ask of a conversation, and its encoded answer once there is one.
#[derive(Debug)]
struct Last {
    id: u64,
    answer: Option<Vec<u8>>,
}

/// The guest's side of the conversation.
///
/// Bytes go in with [`Session::receive`]; bytes to send wait in [`Session::waiting`] until
/// [`Session::sent`] removes them. A repeated ask is answered again, but not executed again.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    reader: LineReader,
    token: Option<String>,
    last: Option<Last>,
    waiting: Vec<u8>,
}

fn is_token(text: &str) -> bool {
    (1..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Session {
    /// A session without a conversation.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            reader: LineReader::new(),
            token: None,
            last: None,
            waiting: Vec::new(),
        }
    }

    /// The token of the conversation, if there is one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Continues the conversation of an earlier process, with a welcome if `standing` is given.
    /// An invalid token is ignored.
    pub fn adopt(&mut self, token: &str, standing: Option<GuestStatus>) {
        if is_token(token) {
            self.token = Some(token.to_owned());
            standing
                .into_iter()
                .for_each(|standing| self.welcome(standing));
        }
    }

    /// Takes the next bytes from the daemon and returns the asks in them.
    pub fn receive(&mut self, bytes: &[u8], standing: GuestStatus) -> Vec<PendingAsk> {
        let mut frames = Vec::new();
        self.reader.push(bytes, |line| {
            frames.extend(serde_json::from_slice::<ToGuest>(line).ok());
        });
        frames
            .into_iter()
            .filter_map(|frame| self.take(frame, standing))
            .collect()
    }

    fn take(&mut self, frame: ToGuest, standing: GuestStatus) -> Option<PendingAsk> {
        match frame {
            ToGuest::Hello { hello } => {
                self.greet(hello.token, standing);
                None
            }
            ToGuest::Ask { token, id, ask } => {
                if self.token.as_ref() != Some(&token) {
                    return None;
                }
                self.number(token, id, ask)
            }
        }
    }

    fn greet(&mut self, token: String, standing: GuestStatus) {
        if !is_token(&token) {
            return;
        }
        if self.token.as_ref() != Some(&token) {
            self.token = Some(token);
            self.last = None;
            self.waiting.clear();
        }
        self.welcome(standing);
    }

    fn welcome(&mut self, standing: GuestStatus) {
        let Some(token) = self.token.clone() else {
            return;
        };
        let welcome = Welcome {
            protocol: PROTOCOL,
            version: self.identity.version.clone(),
            phase: standing.phase,
            boot_id: self.identity.boot_id.clone(),
            uptime_millis: standing.uptime_millis,
            features: features(),
        };
        let mut line = vec![b'\n'];
        line.extend(encode(&FromGuest::Welcome { token, welcome }));
        self.send(&line);
    }

    /// Accepts a new ask, and repeats the answer of one that was answered.
    fn number(&mut self, token: String, id: u64, ask: serde_json::Value) -> Option<PendingAsk> {
        if let Some(last) = self.last.as_ref().filter(|last| id <= last.id) {
            let repeated = last.answer.clone().filter(|_| id == last.id);
            self.send(&repeated.unwrap_or_default());
            return None;
        }
        self.last = Some(Last { id, answer: None });
        match serde_json::from_value(ask) {
            Ok(ask) => Some(PendingAsk { token, id, ask }),
            Err(cause) => {
                let version = &self.identity.version;
                let refusal = format!("the guest program {version} does not support it: {cause}");
                self.finish(token, id, Err(refusal));
                None
            }
        }
    }

    /// Answers an ask, or refuses it with a reason. An answer to an earlier conversation is
    /// dropped.
    pub fn answer(&mut self, asked: &PendingAsk, answer: Result<Answer, String>) {
        self.finish(asked.token.clone(), asked.id, answer);
    }

    fn finish(&mut self, token: String, id: u64, answer: Result<Answer, String>) {
        if self.token.as_ref() != Some(&token) {
            return;
        }
        let line = match answer {
            Ok(answer) => {
                let answer = serde_json::to_value(answer).unwrap_or_default();
                encode(&FromGuest::Answer { token, id, answer })
            }
            Err(refusal) => encode(&FromGuest::Refusal { token, id, refusal }),
        };
        self.send(&line);
        if let Some(last) = self.last.as_mut().filter(|last| last.id == id) {
            last.answer = Some(line);
        }
    }

    /// Sends a notice, if there is a conversation.
    pub fn tell(&mut self, event: Event) {
        if let Some(token) = self.token.clone() {
            self.send(&encode(&FromGuest::Event { token, event }));
        }
    }

    /// Queues a line. A daemon that does not read counts as gone, so the queue is bounded.
    fn send(&mut self, line: &[u8]) {
        if self.waiting.len() + line.len() > MOST_WAITING {
            self.disconnect();
            return;
        }
        self.waiting.extend_from_slice(line);
    }

    /// The bytes to send.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Removes the first `count` of the bytes to send.
    pub fn sent(&mut self, count: usize) {
        self.waiting.drain(..count.min(self.waiting.len()));
    }

    /// Ends the conversation and drops the bytes to send.
    pub fn disconnect(&mut self) {
        self.token = None;
        self.last = None;
        self.waiting = Vec::new();
    }
}

/// The features of this build: the asks that it answers, and its streams.
fn features() -> Vec<String> {
    let all = FEATURES.into_iter().chain([STREAMS_FEATURE]);
    all.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
