//! What the model hears, and what it wants done.

use std::time::Duration;

use banger_api::{
    CreateVm, DaemonView, Error, Event, ImageName, ImageView, PortView, Report, Result, StatsView,
    VmId, VmSpecPatch, VmView, VolumeView,
};
use crossterm::event::{KeyEvent, MouseEvent};

/// How many jobs are done at the same time; the others wait here for their turn.
pub(crate) const AT_ONCE: usize = 48;

/// What the model hears.
#[derive(Debug)]
pub(crate) enum Message {
    /// A key of the user.
    Key(KeyEvent),
    /// The mouse.
    Mouse(MouseEvent),
    /// Text that the user's terminal pasted.
    Paste(String),
    /// The terminal has this size now, in columns and rows.
    Size(u16, u16),
    /// Time has passed, and what is drawn of it is old.
    Tick,
    /// The events of the daemon flow.
    Linked(Box<DaemonView>),
    /// One of them.
    Event(Box<Event>),
    /// They have ended, or do not begin.
    Lost(Error),
    /// A job has come to its end.
    Ended(Box<Job>, Result<()>),
    /// An answer.
    Answer(Answer),
    /// What a VM uses.
    Measured(VmId, Result<Box<StatsView>>),
    /// Text of the followed source; what it is of, so that a late piece of another is known.
    Piece(Source, String),
    /// The followed source has ended, or cannot be read.
    SourceEnded(Source, Option<Error>),
    /// A program that had the terminal has ended.
    Returned(Result<()>),
    /// Something that the user should know.
    Note(Error),
}

/// An answer to a [`Question`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// One VM, with its disks.
    Vm(VmId, Result<Box<VmView>>),
    /// What listens in one VM.
    Ports(VmId, Result<Vec<PortView>>),
    /// The images.
    Images(Result<Vec<ImageView>>),
    /// The volumes.
    Volumes(Result<Vec<VolumeView>>),
    /// The VMs in the trash.
    Trash(Result<Vec<VmView>>),
    /// The daemon's state.
    Daemon(Result<Box<DaemonView>>),
    /// The checks.
    Doctor(Result<Report>),
    /// What new VMs have by default.
    Defaults(Defaults),
}

/// What is asked once, and not pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// One VM, with its disks.
    Vm(VmId),
    /// What listens in one VM.
    Ports(VmId),
    /// The images.
    Images,
    /// The volumes.
    Volumes,
    /// The VMs in the trash.
    Trash,
    /// The daemon's state.
    Daemon,
    /// The checks.
    Doctor,
    /// What new VMs have by default.
    Defaults,
}

/// What new VMs have where a form says nothing, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) image: String,
    pub(crate) vcpu: String,
    pub(crate) memory: String,
    pub(crate) disk_size: String,
    pub(crate) system_disk_size: String,
    pub(crate) nat: bool,
}

/// What the model wants done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// End.
    Quit,
    /// Stop this process until the shell resumes it.
    Suspend,
    /// Draw every cell again.
    Redraw,
    /// Do this, and say how it ended.
    Work(Job),
    /// Ask this, and give the answer.
    Ask(Question),
    /// Follow this from now on, and what was followed no longer.
    Follow(Option<Source>),
    /// Measure these VMs from now on, each at its pace, and no others.
    Measure(Vec<(VmId, Duration)>),
    /// Put this into the terminal's clipboard.
    Copy(String),
    /// Give the terminal to this program until it ends.
    Run(Program),
    /// Hear the mouse, or leave it to the terminal.
    Mouse(bool),
    /// Connect to the daemon at once.
    Connect,
}

/// Text that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A guest's console.
    Console(VmId),
    /// A hypervisor's log.
    Hypervisor(VmId),
    /// The daemon's log.
    Daemon,
}

/// A program that gets the terminal. What banger itself runs has banger's own options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// `banger` with these words.
    Banger(Vec<String>),
    /// A shell in a VM, whose exit status is that of the last command there.
    Shell(Vec<String>),
    /// `banger` with these words, and what it has printed stays until the user has read it.
    Shown(Vec<String>),
    /// The command that fixes what a check found.
    Fix(banger_api::Fix),
}

/// One act on one VM or image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    /// The VM; none for what is not about one.
    pub(crate) vm: Option<VmId>,
    /// The name of what it is about, for messages.
    pub(crate) name: String,
    /// What is done.
    pub(crate) act: Act,
}

/// What is done to a VM or an image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// Makes a VM.
    Create(CreateVm),
    /// Starts it; with a rescue shell on the console.
    Start { rescue: bool },
    /// Shuts it down.
    Stop,
    /// Shuts it down and starts it.
    Restart,
    /// Ends it at once.
    Kill,
    /// Deletes it; kills it first.
    Delete { force: bool },
    /// Changes its settings.
    Set(VmSpecPatch),
    /// Gives it another name.
    Rename(String),
    /// Deletes an image.
    DeleteImage(ImageName),
    /// Deletes images that nobody uses.
    PruneImages,
    /// Starts the daemon.
    StartDaemon,
    /// A command of banger, with these words.
    Command(Vec<String>),
}

impl Act {
    /// What it has done, after a name: `is running`.
    pub(crate) fn outcome(&self) -> String {
        match self {
            Self::Create(request) if request.no_start => "is created".to_owned(),
            Self::Create(_) | Self::Start { .. } | Self::StartDaemon => "is running".to_owned(),
            Self::Stop => "is stopped".to_owned(),
            Self::Restart => "is running again".to_owned(),
            Self::Kill => "is killed".to_owned(),
            Self::Delete { .. } | Self::DeleteImage(_) => "is deleted".to_owned(),
            Self::Set(_) => "is changed".to_owned(),
            Self::Rename(name) => format!("is {name} now"),
            Self::PruneImages => "are deleted".to_owned(),
            Self::Command(words) => command_outcome(words),
        }
    }

    /// The verb, as in `start 12 VMs`.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Start { .. } | Self::StartDaemon => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Kill => "kill",
            Self::Delete { .. } | Self::DeleteImage(_) => "delete",
            Self::Set(_) => "change",
            Self::Rename(_) => "rename",
            Self::PruneImages => "prune",
            Self::Command(_) => "run",
        }
    }
}

/// What a command has done: `is exported to ~/web.banger`.
fn command_outcome(words: &[String]) -> String {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    match (word(0), word(1)) {
        ("vm", "clone") => format!("is cloned as {}", word(3)),
        ("vm", "undelete") => "is restored".to_owned(),
        ("vm", "purge") => "is deleted permanently".to_owned(),
        (_, "export") => format!("is exported to {}", word(3)),
        (_, "import") => "is imported".to_owned(),
        (_, "build") => "is built".to_owned(),
        (_, "rename") => format!("is {} now", word(3)),
        (_, "create") => "is created".to_owned(),
        (_, "delete") => "is deleted".to_owned(),
        _ => "is done".to_owned(),
    }
}
