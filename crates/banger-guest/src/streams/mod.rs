//! Streams between the daemon and a guest, beside the control channel.
//!
//! A stream is a byte pipe that both ends hold as a Unix socket. Over Firecracker's vsock, a stream is
//! a connection of its own to [`VSOCK_PORT`]. QEMU's second serial port has one byte stream for all;
//! there each side runs a [`Mux`], whose frames carry many streams side by side.
//!
//! The daemon opens every stream. Its first line names a [`StreamKind`], the guest's first line
//! accepts or refuses it ([`OpenReply`]); what follows depends on the kind.
//!
//! ```text
//! daemon  {"open":"ports"}⏎
//! guest   {"opened":"ports"}⏎    or    {"refused":"this guest program has no streams of this kind"}⏎
//! ```

mod connect;
mod exec;
mod frame;
mod job;
mod joint;
mod line;
mod mux;

pub use connect::{
    Accept, ConnectReply, LOCALHOST, LONGEST_SOCKET_PATH, ListenLine, MOST_PENDING, Target,
};
pub use exec::{
    ExecEnd, ExecFrame, ExecReader, ExecStart, LONGEST_EXEC_FRAME, MOST_WORDS, STDIN_WINDOW,
};
pub use frame::{Frame, FrameKind, FrameReader, LONGEST_FRAME, TOKEN};
pub use job::{
    AttachStart, Job, JobAsk, JobName, JobReply, JobState, KEPT_OUTPUT, LONGEST_JOB_NAME,
    MOST_ENDED_JOBS, MOST_JOBS, is_job_id, is_job_name, is_job_reference,
};
pub use joint::join;
pub use line::read_line;
pub use mux::{Doorbell, MOST_STREAMS, Mux, WINDOW};

use serde::{Deserialize, Serialize};

/// The name of the virtio-serial port for streams.
pub const PORT_NAME: &str = "banger.streams";

/// The vsock port for streams; below 1024, as the agent's.
pub const VSOCK_PORT: u32 = 1022;

/// The maximum length of the first line of either side, in bytes, without its newline.
pub const LONGEST_HEAD: usize = 1024;

/// The purpose of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// Runs one command: [`ExecFrame`]s both ways.
    Exec,
    /// Starts one command as a [`Job`], which outlives the stream.
    Detach,
    /// The guest writes one JSON value, a list of [`Job`], and ends the stream.
    Jobs,
    /// Controls jobs: a [`JobAsk`], and a [`JobReply`].
    Job,
    /// The output of a job, and its input.
    Attach,
    /// Copies files: the frames of the crate `banger-copy`, both ways.
    Copy,
    /// The guest writes one JSON value, a list of [`ListeningSocket`], and ends the stream.
    Ports,
    /// The guest writes one JSON value, a [`Usage`], and ends the stream.
    Usage,
    /// The guest connects to a [`Target`] of its own, and the stream is that connection.
    Connect,
    /// The guest listens on a [`Target`], and reports each connection ([`ListenLine`]).
    Listen,
    /// The stream is a connection that a listener has reported ([`Accept`]).
    Accept,
}

/// The daemon's first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The purpose: a [`StreamKind`], as JSON, so that a guest can refuse an unknown one.
    pub open: serde_json::Value,
}

/// The guest's first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenReply {
    /// The stream is open, for this purpose.
    Opened(StreamKind),
    /// The stream is refused, for this reason.
    Refused(String),
}

/// A socket of the guest that takes connections or datagrams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListeningSocket {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The address that it is bound to.
    pub address: std::net::IpAddr,
    /// Its port.
    pub port: u16,
    /// The process that has it open, if one was found.
    #[serde(default)]
    pub pid: Option<u32>,
    /// That process's name.
    #[serde(default)]
    pub process: Option<String>,
}

/// The resource usage of a guest, since its kernel started and now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The time since its kernel started, in milliseconds.
    pub uptime_millis: u64,
    /// The busy time of all its CPUs together, in milliseconds.
    pub cpu_busy_millis: u64,
    /// The load average of the last minute, in hundredths.
    pub load_hundredths: u32,
    /// The memory of its kernel, in bytes.
    pub memory_bytes: u64,
    /// The part of it that is still available to programs, in bytes.
    pub memory_available_bytes: u64,
    /// The bytes that its interfaces received, except loopback.
    pub received_bytes: u64,
    /// The bytes that its interfaces sent, except loopback.
    pub sent_bytes: u64,
    /// The bytes that it read from its disks; an older guest program does not tell.
    #[serde(default)]
    pub read_bytes: Option<u64>,
    /// The bytes that it wrote to its disks; an older guest program does not tell.
    #[serde(default)]
    pub written_bytes: Option<u64>,
    /// The number of processes that its out-of-memory killer has killed since boot; an older guest program does not tell.
    #[serde(default)]
    pub oom_kills: Option<u64>,
}
