//! The conversation between the daemon and a guest.
//!
//! The two share one byte stream. A virtio-serial port has no listener: the guest opens it once, and
//! daemons come and go at the other end, possibly in the middle of a frame. So each frame is one
//! line of JSON, and a daemon opens with a [`Hello`] that carries a token of its own; the guest drops
//! all earlier state and marks its frames with that token from then on. On a machine with a vsock
//! the guest listens on [`VSOCK_PORT`], and the newest connection carries the same frames.
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
//! lines that they cannot read, lines longer than [`LONGEST_LINE`], and frames with another token.
//! The daemon treats everything from a guest as the guest's claim only.
//!
//! # Compatibility
//!
//! A guest outlives the daemon that started it, so this protocol only grows:
//!
//! - A new ask gets a name in [`FEATURES`], which a [`Welcome`] lists; a daemon sends an ask only
//!   to a guest that lists it. A guest answers an unknown ask with a refusal and its reason.
//! - Both sides ignore unknown fields and drop unknown events. A new field has `#[serde(default)]`;
//!   a field that was ever sent stays.
//! - [`Phase`] and [`Verb`] are closed: an older daemon could not read a new one.
//! - [`Resolvers`] is closed for guests that list no features, which reject unknown fields in it.
//!
//! `tests/recorded` holds a conversation of each released build, and tests replay them.

mod conversation;
mod line;
mod session;

pub use conversation::{Conversation, ConversationError};
pub use line::LineReader;
pub use session::{GuestStatus, Identity, PendingAsk, Session};

use serde::{Deserialize, Serialize};

use crate::config::{NewName, Resolvers};

/// The version of the protocol in this build.
pub const PROTOCOL: u32 = 1;

/// The maximum length of a line on either side, in bytes, without its newline.
pub const LONGEST_LINE: usize = 64 * 1024;

/// The name of the virtio-serial port that the guest looks for.
pub const PORT_NAME: &str = "banger.agent";

/// The port that the guest listens on if it has a vsock and no such serial port. Listening below
/// 1024 needs a privilege, so an ordinary user of the guest cannot impersonate the agent.
pub const VSOCK_PORT: u32 = 1023;

/// The names of the asks that this build answers, as [`Welcome::features`] lists them.
pub const FEATURES: [&str; 6] = [
    "sync",
    "poweroff",
    "set_clock",
    "set_resolvers",
    "status",
    "rename",
];

/// The name in a [`Welcome`] of a guest that supports [streams](crate::streams).
pub const STREAMS_FEATURE: &str = "streams";

/// The asks that a guest without a list of features answers; this list is closed.
const UNLISTED_FEATURES: [&str; 5] = ["sync", "poweroff", "set_clock", "set_resolvers", "status"];

/// The progress of a guest's boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `/init` of the initramfs prepares the guest; the image's init has not started.
    Initramfs,
    /// The image's init runs.
    Starting,
    /// The image's init runs, and sshd listens.
    Ready,
}

/// The kind of a guest's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Power off.
    Poweroff,
    /// Start again.
    Reboot,
    /// Halt. A halted guest is of no use, so the daemon treats it as powered off.
    Halt,
}

/// The daemon's first frame on a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The mark of this conversation's frames; 1 to 64 hexadecimal digits.
    pub token: String,
    /// The newest protocol that the daemon speaks.
    pub protocol: u32,
}

/// The guest's answer to a hello. It is also sent without one when the agent takes over or
/// restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol that the guest speaks.
    pub protocol: u32,
    /// The version of the guest program.
    pub version: String,
    /// How far the guest has booted.
    pub phase: Phase,
    /// The kernel's boot id: it changes when the guest boots again.
    pub boot_id: String,
    /// The time since the guest's kernel started, in milliseconds.
    pub uptime_millis: u64,
    /// The names of the asks that the guest answers; empty from guests of builds before this list.
    #[serde(default)]
    pub features: Vec<String>,
}

impl Welcome {
    /// Whether the guest answers the ask of this name.
    #[must_use]
    pub fn supports(&self, feature: &str) -> bool {
        if self.features.is_empty() {
            return UNLISTED_FEATURES.contains(&feature);
        }
        self.features.iter().any(|it| it == feature)
    }
}

/// A request of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Write all dirty data to the disks: [`Answer::Done`] once it is there.
    Sync,
    /// Begin an orderly power-off: [`Answer::Done`] once it has begun.
    Poweroff,
    /// Set the clock if it deviates by more than a tolerance: [`Answer::Clock`].
    SetClock {
        /// The time now, in nanoseconds since 1970.
        unix_nanos: u64,
        /// The deviation to leave alone, in milliseconds.
        tolerance_millis: u64,
    },
    /// Replace the resolvers: [`Answer::Done`].
    SetResolvers(Resolvers),
    /// Report the guest's state: [`Answer::Status`].
    Status,
    /// Take another host name: [`Answer::Done`].
    Rename(NewName),
}

impl Ask {
    /// Its name in [`FEATURES`], which is also its name on the stream.
    #[must_use]
    pub fn feature(&self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Poweroff => "poweroff",
            Self::SetClock { .. } => "set_clock",
            Self::SetResolvers(_) => "set_resolvers",
            Self::Status => "status",
            Self::Rename(_) => "rename",
        }
    }
}

/// The guest's reply to an ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The ask is done.
    Done,
    /// The state of the clock.
    Clock {
        /// The guest's clock minus the time given, in milliseconds, before it was set.
        off_by_millis: i64,
        /// Whether it was set.
        stepped: bool,
    },
    /// The guest's state.
    Status(Status),
}

/// The guest's state, as the guest reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How far the guest has booted.
    pub phase: Phase,
    /// The time since its kernel started, in milliseconds.
    pub uptime_millis: u64,
    /// The load average of the last minute, in hundredths.
    pub load_hundredths: u32,
    /// The memory of its kernel, in bytes.
    pub memory_bytes: u64,
    /// The part of it that is still available to programs, in bytes.
    pub memory_available_bytes: u64,
    /// The file systems that banger mounted, `/` first.
    pub filesystems: Vec<Usage>,
    /// The failures at boot that did not end it, such as growing a disk.
    pub warnings: Vec<String>,
}

/// The usage of one file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Its mount point.
    pub mount: String,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// The part in use, in bytes.
    pub used_bytes: u64,
    /// The bytes that an unprivileged program can still write.
    pub available_bytes: u64,
}

/// A notice that the guest sends without an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The guest has reached this phase.
    Phase(Phase),
    /// The guest ends now; its file systems are unmounted.
    End(Verb),
}

/// A frame from the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToGuest {
    /// Opens a conversation.
    Hello {
        /// The hello.
        hello: Hello,
    },
    /// Sends an ask.
    Ask {
        /// The conversation's token.
        token: String,
        /// The number that the answer repeats; it grows within a conversation.
        id: u64,
        /// The [`Ask`], as JSON, so that a guest can name an unknown one in its refusal.
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
        /// The welcome.
        welcome: Welcome,
    },
    /// Answers an ask.
    Answer {
        /// The ask's token.
        token: String,
        /// The ask's id.
        id: u64,
        /// The [`Answer`], as JSON, so that a daemon can tell an unknown one from silence.
        answer: serde_json::Value,
    },
    /// Refuses an ask.
    Refusal {
        /// The ask's token.
        token: String,
        /// The ask's id.
        id: u64,
        /// The reason.
        refusal: String,
    },
    /// Sends a notice.
    Event {
        /// The conversation's token.
        token: String,
        /// The notice.
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

/// A frame as it is sent: JSON and a newline.
///
/// Encoding fails only for maps whose keys are not strings, and no frame has one.
#[must_use]
pub fn encode<T: Serialize>(frame: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(frame).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: Serialize>(frame: &T) -> String {
        String::from_utf8(encode(frame)).unwrap()
    }

    #[test]
    fn frames_look_as_documented() {
        let token = || "5f".to_owned();
        let hello = Hello {
            token: token(),
            protocol: PROTOCOL,
        };
        let hello = ToGuest::Hello { hello };
        assert_eq!(
            text(&hello),
            "{\"hello\":{\"token\":\"5f\",\"protocol\":1}}\n"
        );
        let event = FromGuest::Event {
            token: token(),
            event: Event::Phase(Phase::Ready),
        };
        assert_eq!(
            text(&event),
            "{\"token\":\"5f\",\"event\":{\"phase\":\"ready\"}}\n"
        );
        let answer = FromGuest::Answer {
            token: token(),
            id: 7,
            answer: serde_json::to_value(Answer::Done).unwrap(),
        };
        assert_eq!(
            text(&answer),
            "{\"token\":\"5f\",\"id\":7,\"answer\":\"done\"}\n"
        );
    }

    #[test]
    fn an_asks_feature_is_its_name_on_the_stream() {
        let clock = Ask::SetClock {
            unix_nanos: 1,
            tolerance_millis: 2,
        };
        let resolvers = Ask::SetResolvers(Resolvers::default());
        let rename = Ask::Rename(NewName {
            former: vec!["web".to_owned()],
            hostname: "api".to_owned(),
            greeting: String::new(),
        });
        let asks = [
            Ask::Sync,
            Ask::Poweroff,
            clock,
            resolvers,
            Ask::Status,
            rename,
        ];
        for ask in &asks {
            let json = serde_json::to_value(ask).unwrap();
            let name = json.as_str().map(str::to_owned);
            let name = name.or_else(|| Some(json.as_object()?.keys().next()?.clone()));
            assert_eq!(name.as_deref(), Some(ask.feature()));
        }
        assert_eq!(asks.map(|ask| ask.feature()), FEATURES);
    }
}
