//! What a client hears while work goes on.

use serde::{Deserialize, Serialize};

use crate::{Error, PauseReason, Phase, VmId, VmName};

/// One step of long work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Progress {
    /// The step: `check`, `plan`, `prepare network`, `boot`, `wait for guest` …
    pub step: String,
    /// How long it took, in seconds; absent while it begins.
    pub seconds: Option<f64>,
}

/// One line of a long answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Line<T> {
    /// A step began or ended.
    Progress(Progress),
    /// It is done. Nothing follows.
    Result(T),
    /// It could not be done. Nothing follows.
    Error(Error),
}

/// One line of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A VM has another phase now, or stands still in it, or goes on.
    Phase {
        /// Which VM.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        id: VmId,
        /// Its name.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        name: VmName,
        /// The phase.
        phase: Phase,
        /// Why it stands still; absent where it does not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paused: Option<PauseReason>,
    },
    /// A VM is no more.
    Gone {
        /// Which VM.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        id: VmId,
    },
    /// The listener was too slow and missed so many events: it should list again.
    Missed(u64),
}
