//! The conversation between the daemon and a guest.
//!
//! It runs over one byte stream, because a virtio-serial port has no listener: the guest opens the
//! port once, and daemons come and go at its other end, at worst in the middle of a frame. So each
//! frame is one line of JSON, and a daemon that connects opens with a [`Hello`] that carries a
//! token of its own; the guest forgets what went before and answers with that token from then on.
//! Where the machine has a vsock instead, the guest listens on [`VSOCK_PORT`], and the same words go
//! over the newest connection.
//!
//! ```text
//! daemon  ⏎{"hello":{"token":"5f0c…","protocol":1}}⏎
//! guest   ⏎{"token":"5f0c…","welcome":{"protocol":1,"version":"0.1.0","phase":"starting",…}}⏎
//! guest   {"token":"5f0c…","event":{"phase":"ready"}}⏎
//! daemon  {"token":"5f0c…","id":1,"ask":"sync"}⏎
//! guest   {"token":"5f0c…","id":1,"answer":"done"}⏎
//! ```
//!
//! A hello and a welcome begin with a newline, which ends a line that was cut off. Both sides drop
//! lines that they cannot read, lines longer than [`LONGEST_LINE`], and frames of another token.
//! Whoever trusts whom: the daemon takes nothing that a guest says for more than a guest's word.

mod conversation;
mod line;
mod session;

pub use conversation::{Conversation, ConversationError};
pub use line::LineReader;
pub use session::{GuestStatus, Identity, PendingAsk, Session};

use serde::{Deserialize, Serialize};

use crate::config::Resolvers;

/// The version of the protocol that this build speaks.
pub const PROTOCOL: u32 = 1;

/// The longest line that either side takes, in bytes, without its newline.
pub const LONGEST_LINE: usize = 64 * 1024;

/// The name of the virtio-serial port that the guest looks for.
pub const PORT_NAME: &str = "banger.agent";

/// The port that the guest listens on where it has a vsock and no such port. Listening below 1024
/// takes a privilege, so no ordinary user of the guest can stand in for the agent.
pub const VSOCK_PORT: u32 = 1023;

/// How far a guest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Our own program prepares the guest; the image's init has not started.
    Initramfs,
    /// The image's init runs.
    Starting,
    /// The image's init runs, and sshd listens.
    Ready,
}

/// How a guest ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// It wants to be off.
    Poweroff,
    /// It wants to be started again.
    Reboot,
    /// It wants to stand still; nothing can be done with a halted guest, so it is off.
    Halt,
}

/// The daemon's first frame on a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What marks the frames of this conversation; 1 to 64 hexadecimal digits.
    pub token: String,
    /// The newest protocol that the daemon speaks.
    pub protocol: u32,
}

/// The guest's answer to a hello; also sent unasked when the agent takes over or is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol that the guest speaks.
    pub protocol: u32,
    /// The version of the guest's program.
    pub version: String,
    /// How far the guest has come.
    pub phase: Phase,
    /// The kernel's boot id: another one means that the guest started anew.
    pub boot_id: String,
    /// The time since the guest's kernel started, in milliseconds.
    pub uptime_millis: u64,
}

/// What the daemon can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Nothing but an answer: [`Answer::Done`].
    Ping,
    /// Everything written so far on the disks: [`Answer::Done`] once it is there.
    Sync,
    /// To begin an orderly power-off: [`Answer::Done`] once it has begun.
    Poweroff,
    /// To begin an orderly reboot: [`Answer::Done`] once it has begun.
    Reboot,
    /// To set the clock if it is off by more than a tolerance: [`Answer::Clock`].
    SetClock {
        /// The time now, in nanoseconds since 1970.
        unix_nanos: u64,
        /// The deviation that is left alone, in milliseconds.
        tolerance_millis: u64,
    },
    /// To resolve names elsewhere from now on: [`Answer::Done`].
    SetResolvers(Resolvers),
    /// How the guest is: [`Answer::Status`].
    Status,
}

/// What the guest answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// How the clock stood.
    Clock {
        /// The guest's clock minus the time given, in milliseconds, before it was set.
        off_by_millis: i64,
        /// Whether it was set.
        stepped: bool,
    },
    /// How the guest is.
    Status(Status),
}

/// How a guest is, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How far it has come.
    pub phase: Phase,
    /// The time since its kernel started, in milliseconds.
    pub uptime_millis: u64,
    /// The load average of the last minute, in hundredths.
    pub load_hundredths: u32,
    /// All memory that its kernel has, in bytes.
    pub memory_bytes: u64,
    /// What programs could still get of that, in bytes.
    pub memory_available_bytes: u64,
    /// The file systems that banger mounted, `/` first.
    pub filesystems: Vec<Usage>,
    /// What went wrong at start without keeping the guest from starting, such as growth.
    pub warnings: Vec<String>,
}

/// How full a file system is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Where it is mounted.
    pub mount: String,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// What is in use of it, in bytes.
    pub used_bytes: u64,
    /// What a program without privileges can still write, in bytes.
    pub available_bytes: u64,
}

/// What the guest says unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It has come so far.
    Phase(Phase),
    /// It ends now; its file systems are unmounted.
    End(Verb),
}

/// A frame from the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToGuest {
    /// Opens a conversation.
    Hello {
        /// With what.
        hello: Hello,
    },
    /// Asks for something.
    Ask {
        /// The conversation's token.
        token: String,
        /// Comes back with the answer; grows within a conversation.
        id: u64,
        /// For what. Kept as JSON, so that a guest can refuse in words what it does not know.
        ask: serde_json::Value,
    },
}

/// A frame from the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FromGuest {
    /// Answers a hello.
    Welcome {
        /// The hello's token.
        token: String,
        /// How the guest stands.
        welcome: Welcome,
    },
    /// Answers an ask.
    Answer {
        /// The ask's token.
        token: String,
        /// The ask's id.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// Refuses an ask.
    Refusal {
        /// The ask's token.
        token: String,
        /// The ask's id.
        id: u64,
        /// Why, in words.
        refusal: String,
    },
    /// Says something unasked.
    Event {
        /// The conversation's token.
        token: String,
        /// What.
        event: Event,
    },
}

impl FromGuest {
    /// The token of the conversation that the frame belongs to.
    #[must_use]
    pub fn token(&self) -> &str {
        match self {
            Self::Welcome { token, .. }
            | Self::Answer { token, .. }
            | Self::Refusal { token, .. }
            | Self::Event { token, .. } => token,
        }
    }
}

/// A frame as it goes over the stream: JSON and a newline.
///
/// None of the frames has a map with keys that are not strings, so there is always a text.
#[must_use]
pub fn encode<T: Serialize>(frame: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(frame).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_look_as_documented() {
        let hello = Hello {
            token: "5f".into(),
            protocol: PROTOCOL,
        };
        let text = |line: Vec<u8>| String::from_utf8(line).unwrap();
        assert_eq!(
            text(encode(&ToGuest::Hello { hello })),
            "{\"hello\":{\"token\":\"5f\",\"protocol\":1}}\n"
        );
        let event = FromGuest::Event {
            token: "5f".into(),
            event: Event::Phase(Phase::Ready),
        };
        assert_eq!(
            text(encode(&event)),
            "{\"token\":\"5f\",\"event\":{\"phase\":\"ready\"}}\n"
        );
        let answer = FromGuest::Answer {
            token: "5f".into(),
            id: 7,
            answer: Answer::Done,
        };
        assert_eq!(
            text(encode(&answer)),
            "{\"token\":\"5f\",\"id\":7,\"answer\":\"done\"}\n"
        );
    }

    #[test]
    fn each_frame_is_read_as_what_it_is() {
        let status = Status {
            phase: Phase::Ready,
            uptime_millis: 1,
            load_hundredths: 2,
            memory_bytes: 3,
            memory_available_bytes: 4,
            filesystems: vec![],
            warnings: vec!["`/dev/vdb` did not grow".into()],
        };
        let token = String::from("5f");
        for frame in [
            FromGuest::Answer {
                token: token.clone(),
                id: 1,
                answer: Answer::Status(status),
            },
            FromGuest::Refusal {
                token: token.clone(),
                id: 2,
                refusal: "no".into(),
            },
            FromGuest::Event {
                token,
                event: Event::End(Verb::Poweroff),
            },
        ] {
            assert_eq!(
                serde_json::from_slice::<FromGuest>(&encode(&frame)).unwrap(),
                frame
            );
        }
    }
}
