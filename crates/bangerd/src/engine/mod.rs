//! The verbs: create, start, stop, set, rename, delete, recover; and those on images.
//!
//! Plain blocking code on threads. Who holds a VM ([`hold`]) changes it, and nobody else; its
//! record is on disk before and after each step that a crash could fall between.
//!
//! ```text
//! start:  hold ► checks ► plan ► record Starting ► prepare ► boot ► wait ► on_ready ► record Running
//!                                      any error, a crash, a stop, the guest's own end
//!                                                         │
//!                                                         ▼
//! down:                       process ended ► teardown of every capability in reverse ► record Stopped
//! ```

mod admit;
mod advertise;
mod autostart;
mod backoff;
mod create;
mod delete;
mod disk_pressure;
mod down;
mod end;
mod events;
mod findings;
pub mod hold;
mod images;
mod metrics;
mod operations;
mod outside;
mod pause;
mod permits;
mod protection;
mod record;
mod recover;
mod rename;
mod set;
mod stall;
mod start;
mod stop;
mod stop_all;
mod view;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use banger_api::{
    Code, DaemonView, Error, LogLevel, LogLevelView, Progress, Reloaded, Report, VmId, VmRef,
    VmSpec, VmSpecPatch, VmView,
};
use banger_host::Host;
use jiff::Timestamp;

use crate::capability::Capability;
use crate::error::Result;
use crate::guest::program::GuestProgram;
use crate::hypervisor::Hypervisor;
use crate::image::catalog::Catalog;
use crate::layout::Layout;
use crate::naming::NameSource;
use crate::readiness::{self, Check};
use crate::vm::claim::Claim;
use crate::vm::names::Instance;
use crate::vm::store::Store;
use events::Feed;
use hold::Slot;
use pause::Pauses;
use permits::BootPermits;
use record::StaleRecords;

pub use events::KEPT_EVENTS;
pub use view::{CHUNK, ConsoleChunk};

/// Hears of each step of long work.
pub type ProgressSink<'a> = &'a dyn Fn(Progress);

/// What a VM gets when its user does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The image.
    pub image: String,
    /// Where its name comes from.
    pub names: NameSource,
    /// Its settings.
    pub spec: VmSpec,
    /// Those of its settings that the configuration itself says, where it matters.
    pub chosen: VmSpecPatch,
    /// How long a guest has to become ready, in seconds.
    pub start_timeout_seconds: u64,
    /// How long a guest has to end, in seconds.
    pub stop_timeout_seconds: u64,
    /// How long all guests together have to end when all are stopped, in seconds.
    pub shutdown_timeout_seconds: u64,
}

/// What the configuration says now of what can change while the daemon runs.
#[derive(Debug, Clone)]
pub struct Reread {
    /// What a VM gets when its user does not say.
    pub defaults: Defaults,
    /// How much is logged.
    pub log_level: LogLevel,
    /// The keys that have another value than before.
    pub changed: Vec<&'static str>,
    /// The keys whose new value waits for the next start of the daemon.
    pub waiting: Vec<&'static str>,
}

/// What the engine is assembled from.
pub struct Parts {
    /// The host that everything happens on.
    pub host: Arc<dyn Host>,
    /// The paths.
    pub layout: Layout,
    /// Which banger this is on its host.
    pub instance: Instance,
    /// What a VM has, in the order of a start.
    pub capabilities: Vec<Box<dyn Capability>>,
    /// The hypervisors, the one for new starts first.
    pub hypervisors: Vec<Box<dyn Hypervisor>>,
    /// The images.
    pub catalog: Catalog,
    /// What each guest starts with.
    pub guest_program: GuestProgram,
    /// What a VM gets by default, until the configuration is read again.
    pub defaults: Defaults,
    /// Reads the configuration again.
    pub reread: Box<dyn Fn() -> Result<Reread> + Send + Sync>,
    /// How many VMs boot at once; the others wait their turn.
    pub boots_at_once: usize,
    /// Checks that belong to no capability: the bundle, the hypervisors, the disk space.
    pub checks: Vec<Check>,
    /// Whether the host is a model, so that nobody can log in to anything.
    pub simulated: bool,
    /// How the daemon is shown; the numbers of VMs are filled in.
    pub daemon: DaemonView,
    /// What is told at the end of a create, once, such as how to route `~vm`.
    pub advice: Vec<String>,
}

/// The engine: every VM of one state directory, and the verbs.
pub struct Engine {
    parts: Parts,
    defaults: Mutex<Defaults>,
    /// The operations that have ended.
    counts: Mutex<metrics::OperationCounts>,
    store: Store,
    vms: Mutex<BTreeMap<VmId, Arc<Slot>>>,
    feed: Feed,
    /// Whether other programs were told less than there is.
    is_behind: Mutex<bool>,
    unexplained: Mutex<Vec<String>>,
    /// What running VMs' checks found last.
    findings: Mutex<findings::Findings>,
    /// The lasting checks that a start has passed since the last one that failed, by name.
    passed: Mutex<BTreeSet<String>>,
    /// What belongs to VMs whose records this program cannot use.
    unreadable: Mutex<Vec<Claim>>,
    pauses: Pauses,
    kept: StaleRecords,
    boots: BootPermits,
    autostart: Mutex<autostart::Autostart>,
    stopping: AtomicBool,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("capabilities", &self.capabilities)
            .field("hypervisors", &self.hypervisors)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("state", &self.parts.layout.state())
            .finish_non_exhaustive()
    }
}

/// A lock that a panic elsewhere does not poison: what it guards is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// An engine without VMs; [`Engine::recover`] finds them.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            store: Store::new(parts.layout.clone()),
            boots: BootPermits::new(parts.boots_at_once),
            feed: Feed::new(parts.host.clocks().realtime),
            defaults: Mutex::new(parts.defaults.clone()),
            counts: Mutex::default(),
            parts,
            vms: Mutex::new(BTreeMap::new()),
            is_behind: Mutex::default(),
            unexplained: Mutex::new(Vec::new()),
            findings: Mutex::default(),
            passed: Mutex::default(),
            unreadable: Mutex::new(Vec::new()),
            pauses: Pauses::default(),
            kept: StaleRecords::default(),
            autostart: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The host that everything happens on.
    #[must_use]
    pub fn host(&self) -> &dyn Host {
        &*self.parts.host
    }

    /// What a VM gets now when its user does not say.
    fn defaults(&self) -> Defaults {
        lock(&self.defaults).clone()
    }

    /// Reads the configuration again, and takes over what can change while the daemon runs.
    ///
    /// # Errors
    /// What is wrong with the configuration; nothing is taken over then.
    pub fn reload(&self) -> Result<Reloaded> {
        let read = (self.parts.reread)()?;
        *lock(&self.defaults) = read.defaults;
        crate::log::set_level(read.log_level);
        let owned = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
        Ok(Reloaded {
            changed: owned(read.changed),
            waiting: owned(read.waiting),
        })
    }

    /// Does `work` for the request of this id, which its operations and what it logs bear.
    pub fn for_request<T>(&self, request: Option<String>, work: impl FnOnce() -> T) -> T {
        crate::log::within(request, work)
    }

    /// Changes how much is logged, until the configuration is read again.
    pub fn set_log_level(&self, wanted: LogLevelView) -> LogLevelView {
        crate::log::set_level(wanted.level);
        tracing::info!(level = %wanted.level, "the log's level is set");
        wanted
    }

    /// Finds a VM by its name, its id, or the first digits of its id.
    fn find(&self, wanted: &VmRef) -> Result<Arc<Slot>> {
        let vms = lock(&self.vms);
        if let Some(slot) = vms.values().find(|slot| wanted.is_name(&slot.vm().name)) {
            return Ok(slot.clone());
        }
        let matches: Vec<&Arc<Slot>> = vms
            .iter()
            .filter(|(id, _)| wanted.begins(**id))
            .map(|(_, slot)| slot)
            .collect();
        match matches.as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(self.not_found(wanted)),
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|slot| slot.vm())
                    .map(|vm| format!("{} ({})", vm.id, vm.name))
                    .collect();
                Err(
                    Error::new(Code::Conflict, format!("`{wanted}` begins several ids"))
                        .cause(names.join(", "))
                        .hint("give more digits, or the name"),
                )
            }
        }
    }

    fn not_found(&self, wanted: &VmRef) -> Error {
        let unreadable = lock(&self.unreadable);
        let is_there = unreadable.iter().any(|claim| {
            wanted.begins(claim.id) || claim.names.iter().any(|name| wanted.is_name(name))
        });
        if is_there {
            return Error::new(
                Code::NotReady,
                format!("the record of `{wanted}` cannot be read; nothing of it is removed"),
            )
            .hint("see why: banger daemon status");
        }
        Error::new(Code::NotFound, format!("there is no VM `{wanted}`"))
            .hint("see which there are: banger vm list")
    }

    /// All slots, in the order of their ids.
    fn slots(&self) -> Vec<Arc<Slot>> {
        lock(&self.vms).values().cloned().collect()
    }

    /// All VMs, by name.
    #[must_use]
    pub fn list(&self) -> Vec<VmView> {
        let mut views: Vec<VmView> = self
            .slots()
            .iter()
            .map(|slot| self.view(&slot.vm()))
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// One VM.
    ///
    /// # Errors
    /// `not-found`, or `conflict` where the reference fits several.
    pub fn show(&self, wanted: &VmRef) -> Result<VmView> {
        let vm = self.find(wanted)?.vm();
        let mut view = self.view(&vm);
        let disks = self.parts.capabilities.iter();
        view.disks = disks.flat_map(|it| it.disks(&vm, self.host())).collect();
        Ok(view)
    }

    /// Runs all checks.
    #[must_use]
    pub fn doctor(&self) -> Report {
        let mut checks: Vec<Check> = Vec::new();
        let mut report = readiness::report(self.host(), &self.parts.checks);
        for hypervisor in self.parts.hypervisors.iter().take(1) {
            checks.extend(hypervisor.checks());
        }
        checks.push(self.parts.guest_program.check());
        for capability in &self.parts.capabilities {
            checks.extend(capability.checks(None));
        }
        // A hypervisor may need what is only good to have otherwise: its word counts.
        for check in readiness::report(self.host(), &checks).checks {
            match report.checks.iter_mut().find(|it| it.name == check.name) {
                Some(seen) => *seen = check,
                None => report.checks.push(check),
            }
        }
        // What every VM needs stands first.
        report.checks.sort_by_key(|check| check.section.is_some());
        report
    }

    /// The daemon as it runs.
    #[must_use]
    pub fn daemon(&self) -> DaemonView {
        let slots = self.slots();
        DaemonView {
            vms: slots.len(),
            running: slots
                .iter()
                .filter(|slot| slot.vm().process().is_some())
                .count(),
            unexplained: lock(&self.unexplained).clone(),
            log_level: crate::log::level(),
            ..self.parts.daemon.clone()
        }
    }

    /// The time now, for records.
    fn now(&self) -> Timestamp {
        let since = self.host().clocks().realtime;
        Timestamp::try_from(std::time::SystemTime::UNIX_EPOCH + since).unwrap_or_default()
    }

    /// Ends the threads that look after VMs. VMs run on.
    pub fn shut_down(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.feed.wake();
    }

    /// Whether the engine is shut down.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Does one step of long work, and tells when it begins and ends.
fn step<T>(progress: ProgressSink<'_>, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    progress(Progress {
        step: name.to_owned(),
        seconds: None,
    });
    let began = Instant::now();
    let outcome = work();
    if outcome.is_ok() {
        progress(Progress {
            step: name.to_owned(),
            seconds: Some(began.elapsed().as_secs_f64()),
        });
    }
    outcome
}
