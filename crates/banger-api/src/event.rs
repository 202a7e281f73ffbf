//! Streamed responses: the steps of a request, and the events of all VMs.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, VmId, VmName, VmView};

/// One step of a long request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Progress {
    /// The step: `check`, `plan`, `prepare network`, `boot`, `wait for guest` …
    pub step: String,
    /// The duration of the step, in seconds; null while it lasts.
    pub seconds: Option<f64>,
    /// How far it is, while it copies; it has begun before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteCount>,
}

/// How far a step that copies is, in bytes. Holes do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ByteCount {
    /// What is copied.
    pub done: u64,
    /// What there is to copy.
    pub whole: u64,
}

/// One line of a streamed response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Line<T> {
    /// A step has begun or ended.
    Progress(Progress),
    /// The result, as the last line.
    Result(T),
    /// The error of a failed request, as the last line.
    Error(Error),
}

/// One line of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// The sequence number: one more than that of the event before. A later daemon begins at a
    /// higher number.
    pub seq: u64,
    /// The time of the event.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// The change.
    #[serde(flatten)]
    pub change: Change,
}

/// The change of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The complete state at this number, which replaces everything the reader knows. It is the
    /// first event, and comes again if the reader has missed events.
    Snapshot(Snapshot),
    /// A VM was created or has changed; its complete state.
    Vm(Box<VmView>),
    /// A VM was deleted.
    Deleted {
        /// Its id.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        id: VmId,
        /// Its name.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        name: VmName,
    },
    /// An operation has begun, reached a step, or ended.
    Operation(Operation),
}

/// The state of all VMs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// All VMs, by name.
    pub vms: Vec<VmView>,
    /// The running operations, oldest first.
    pub operations: Vec<Operation>,
    /// The number of events that the reader has missed since its last one; null in a new stream.
    pub missed: Option<u64>,
}

/// A running verb on a VM, of any client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Operation {
    /// The operation's number, unique for one run of the daemon.
    pub id: u64,
    /// The verb.
    pub verb: Verb,
    /// The VM; null while a new VM has no id.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub vm: Option<VmId>,
    /// The VM's name; null while a new VM has none.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub name: Option<VmName>,
    /// The id of the client's request, which the daemon's log has, too; null where banger itself
    /// began the operation.
    #[serde(default)]
    pub request: Option<String>,
    /// When the operation began.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub began: Timestamp,
    /// Its progress.
    #[serde(flatten)]
    pub state: OperationState,
}

/// The progress of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum OperationState {
    /// The operation has begun.
    Began,
    /// A step has begun or ended.
    Step(Progress),
    /// The operation has succeeded.
    Done,
    /// The operation has failed.
    Failed {
        /// The error.
        error: Error,
    },
}

/// The verbs that are operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// `vm create`, with the start that follows.
    Create,
    /// `vm start`, or the start after a guest's own reboot.
    Start,
    /// `vm stop`.
    Stop,
    /// `vm restart`.
    Restart,
    /// `vm kill`.
    Kill,
    /// `vm set`.
    Set,
    /// `vm rename`.
    Rename,
    /// `vm clone`, of the VM that is cloned.
    Clone,
    /// `vm export`.
    Export,
    /// `vm import`.
    Import,
    /// `vm delete`.
    Delete,
    /// `vm undelete`.
    Undelete,
    /// `vm purge`.
    Purge,
    /// `image build`, whose VM it is about.
    Build,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Kill => "kill",
            Self::Set => "set",
            Self::Rename => "rename",
            Self::Clone => "clone",
            Self::Export => "export",
            Self::Import => "import",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Purge => "purge",
            Self::Build => "build",
        })
    }
}
