//! The API of banger's daemon, and nothing else: ids, requests, views, reports, events, errors, and
//! a client that speaks HTTP/1.1 with JSON over a Unix socket.
//!
//! The response to a long request is newline-delimited JSON: [`Line::Progress`] lines, then one
//! [`Line::Result`] or one [`Line::Error`].

pub mod client;
pub mod configuration;
pub mod console;
mod error;
mod event;
pub mod exec;
pub mod forward;
mod frames;
pub mod harmless;
mod held_forward;
mod host;
mod image;
mod inside;
mod job;
mod label_selector;
pub mod lifeline;
pub mod limits;
pub mod listener;
pub mod location;
mod name;
mod object;
mod report;
mod request;
mod size;
mod spec;
mod ssh;
mod view;
mod volume;

pub use configuration::{LogLevel, LogLevelView};
pub use error::{Code, Error, Result};
pub use event::{
    ByteCount, Change, Event, Line, Operation, OperationState, Progress, Snapshot, Verb,
};
pub use forward::{AcceptQuery, ConnectQuery, Endpoint, EndpointHost, ListenLine};
pub use held_forward::{
    AddForwards, Forward, ForwardState, ForwardView, MOST_FORWARDS, RemoveForwards,
};
pub use host::{HostImage, HostView, HypervisorView};
pub use image::{
    BuildImage, BuildStep, ExportImage, ExportedImage, ImageName, ImageView, ImportImage,
    PruneImages, PrunedImages, RenameImage,
};
pub use inside::{GuestUsage, HostUsage, PortView, StatsView};
pub use job::{AttachStart, JobRef, JobState, JobView, KillJob, PruneJobs, RemoveJob};
pub use label_selector::LabelSelector;
pub use name::{InvalidName, VmId, VmName, VmRef};
pub use report::{CheckReport, Fix, Report, Verdict};
pub use request::{
    CloneVm, ConsoleQuery, CreateVm, DeleteVm, EventsQuery, ExportVm, ImportVm, KillVm, LogSource,
    LogsQuery, PurgeVm, RenameVm, SignalName, StartVm, StopAllVms, StopVm, UndeleteVm,
};
pub use size::{InvalidSize, Mib};
pub use spec::{LabelsPatch, VmSpec, VmSpecPatch, VolumesPatch};
pub use view::{
    DaemonView, DiskView, End, EndReason, ExportedVm, NetworkKind, PauseReason, Phase,
    ReloadReport, SshView, StopAllReport, StopOutcome, StopReport, VerbOutcome, VersionView,
    VmView,
};
pub use volume::{CreateVolume, VolumeName, VolumeView};

/// The version of the API. A client and a daemon with different versions reject each other.
pub const API_VERSION: u32 = 3;

/// The header with the id of a request, which the daemon's log and its events show: 1 to 64
/// letters, digits and hyphens. The daemon chooses one if it is missing; every response has it.
pub const REQUEST_HEADER: &str = "banger-request";

/// The header with [`API_VERSION`], in every request and response.
pub const API_HEADER: &str = "banger-api";
