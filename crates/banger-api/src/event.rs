//! What a client hears: the steps of its own request, and the events of every VM.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, VmId, VmName, VmView};

/// One step of a request that takes a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Progress {
    /// The step: `check`, `plan`, `prepare network`, `boot`, `wait for guest` …
    pub step: String,
    /// How long the step took, in seconds; null while it lasts.
    pub seconds: Option<f64>,
}

/// One line of a long answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Line<T> {
    /// A step began or ended.
    Progress(Progress),
    /// The outcome. Nothing follows.
    Result(T),
    /// Why the request failed. Nothing follows.
    Error(Error),
}

/// One line of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// The sequence number: one more than that of the event before. A later daemon begins at a
    /// higher number.
    pub seq: u64,
    /// When it happened.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub change: Change,
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The whole state as of this number, in place of whatever the reader knew before. It comes
    /// first, and again where the reader has missed events.
    Snapshot(Snapshot),
    /// A VM is new, or something about it changed; this is all of it as of now.
    Vm(Box<VmView>),
    /// A VM was deleted.
    Deleted {
        /// Which VM.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        id: VmId,
        /// Its name.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        name: VmName,
    },
    /// An operation began, went a step on, or ended.
    Operation(Operation),
}

/// The state of all VMs at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// All VMs, by name.
    pub vms: Vec<VmView>,
    /// The operations under way, the oldest first.
    pub operations: Vec<Operation>,
    /// The number of this daemon's events that the reader has missed since the one it named or
    /// read last; null in a stream that begins anew.
    pub missed: Option<u64>,
}

/// One verb at work on a VM, whoever asked for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Operation {
    /// The operation's number, unique in the life of a daemon.
    pub id: u64,
    /// The verb.
    pub verb: Verb,
    /// The VM; null as long as a VM that is being created has no id.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub vm: Option<VmId>,
    /// The VM's name; null as long as a VM that is being created has none.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub name: Option<VmName>,
    /// The id of the client's request, which the daemon's log has, too; null where banger itself
    /// began the operation.
    #[serde(default)]
    pub request: Option<String>,
    /// When the operation began.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub began: Timestamp,
    /// How far it is.
    #[serde(flatten)]
    pub state: OperationState,
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum OperationState {
    /// The operation has begun.
    Began,
    /// A step of it began or ended.
    Step(Progress),
    /// The operation has ended well.
    Done,
    /// The operation has failed.
    Failed {
        /// Why.
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
    /// `vm delete`.
    Delete,
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
            Self::Delete => "delete",
        })
    }
}
