//! What crosses banger's socket, and nothing else: ids, requests, views, reports, events, errors,
//! and a client that speaks HTTP/1.1 with JSON over a Unix socket.
//!
//! Long work is answered with newline-delimited JSON: [`Line::Progress`] lines, then one
//! [`Line::Result`] or one [`Line::Error`].

pub mod client;
pub mod configuration;
mod error;
mod event;
pub mod harmless;
mod image;
pub mod limits;
pub mod location;
mod name;
mod object;
mod report;
mod request;
mod size;
mod spec;
mod ssh;
mod view;

pub use configuration::{LogLevel, LogLevelView};
pub use error::{Code, Error, Result};
pub use event::{Change, Event, Line, Operation, OperationState, Progress, Snapshot, Verb};
pub use image::{
    ExportImage, ExportedImage, ImageName, ImageView, ImportImage, PruneImages, PrunedImages,
    RenameImage,
};
pub use name::{InvalidName, VmId, VmName, VmRef};
pub use report::{CheckReport, Fix, Report, Verdict};
pub use request::{
    CreateVm, DeleteVm, EventsQuery, KillVm, LogsQuery, RenameVm, SignalName, StartVm, StopAllVms,
    StopVm,
};
pub use size::{InvalidSize, Mib};
pub use spec::{LabelsPatch, VmSpec, VmSpecPatch};
pub use view::{
    DaemonView, DiskView, End, EndReason, NetworkKind, PauseReason, Phase, Reloaded, SshView,
    StopOutcome, Stopped, StoppedAll, VerbOutcome, VersionView, VmView,
};

/// The version of the words in this crate. Client and daemon refuse each other when it differs.
pub const API_VERSION: u32 = 3;

/// The header that gives a request its id, which the daemon's log and its events have, too: 1 to 64
/// letters, digits and hyphens. A request without one is given one; every answer names it.
pub const REQUEST_HEADER: &str = "banger-request";

/// The header that names [`API_VERSION`] on every request and answer.
pub const API_HEADER: &str = "banger-api";
