//! The verbs: create, clone, start, stop, set, rename, delete, recover; and those on images.
//!
//! Blocking code on threads. Only the verb that holds a VM ([`hold`]) changes it. Its record is on
//! disk before and after each step that a crash could interrupt.
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
mod archive;
mod autostart;
mod backoff;
mod build;
mod clone;
mod connect;
mod console;
mod create;
mod delete;
mod disk_pressure;
mod down;
mod end;
mod events;
mod findings;
mod forwards;
pub mod hold;
mod host;
mod images;
mod inside;
mod jobs;
mod lifeline;
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
mod trash;
mod view;
mod volumes;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use banger_api::{
    Code, DaemonView, Error, LogLevel, LogLevelView, Progress, ReloadReport, Report, VmId, VmRef,
    VmSpec, VmSpecPatch, VmView,
};
use banger_host::Host;
use jiff::Timestamp;

use crate::capability::Capability;
use crate::error::Result;
use crate::guest::program::GuestProgram;
use crate::guest::shell::Shell;
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

pub use connect::Connection;
pub use console::{ConsolePiece, ConsoleReader, ConsoleSession, Typing};
pub use events::KEPT_EVENTS;
pub use lifeline::Lifeline;
pub use view::{CHUNK, ConsoleChunk};

/// Receives each step of a long operation.
pub type ProgressSink<'a> = &'a dyn Fn(Progress);

/// The defaults of new VMs and of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The image.
    pub image: String,
    /// Where its name comes from.
    pub names: NameSource,
    /// Its settings.
    pub spec: VmSpec,
    /// The settings that the configuration file itself sets, if that matters.
    pub chosen: VmSpecPatch,
    /// The time for a guest to become ready, in seconds.
    pub start_timeout_seconds: u64,
    /// The time for a guest to shut down, in seconds.
    pub stop_timeout_seconds: u64,
    /// The time for all guests together to shut down when all are stopped, in seconds.
    pub shutdown_timeout_seconds: u64,
    /// Whether a deleted VM goes to the trash.
    pub trash: bool,
}

/// The reloaded part of the configuration, which can change while the daemon runs.
#[derive(Debug, Clone)]
pub struct Reread {
    /// The defaults of new VMs and of requests.
    pub defaults: Defaults,
    /// The level of the log.
    pub log_level: LogLevel,
    /// The keys whose value has changed.
    pub changed: Vec<&'static str>,
    /// The keys whose new value takes effect at the next start of the daemon.
    pub waiting: Vec<&'static str>,
}

/// The parts that the engine is assembled from.
pub struct Parts {
    /// The host that everything happens on.
    pub host: Arc<dyn Host>,
    /// The paths.
    pub layout: Layout,
    /// The identity of this installation on its host.
    pub instance: Instance,
    /// The capabilities, in the order of a start.
    pub capabilities: Vec<Box<dyn Capability>>,
    /// The hypervisors, the one for new starts first.
    pub hypervisors: Vec<Box<dyn Hypervisor>>,
    /// The images.
    pub catalog: Catalog,
    /// The initramfs of all guests.
    pub guest_program: GuestProgram,
    /// How commands run in a guest.
    pub shell: Box<dyn Shell>,
    /// The defaults, until the configuration is reloaded.
    pub defaults: Defaults,
    /// Reloads the configuration.
    pub reread: Box<dyn Fn() -> Result<Reread> + Send + Sync>,
    /// The number of VMs that boot at the same time; further ones wait.
    pub boots_at_once: usize,
    /// Checks that belong to no capability: the bundle, the hypervisors, the disk space.
    pub checks: Vec<Check>,
    /// Whether the host is simulated, so that no VM accepts logins.
    pub simulated: bool,
    /// The view of the daemon, without the numbers of VMs.
    pub daemon: DaemonView,
    /// The advice at the end of the first create, such as how to route `~vm`.
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
    /// Whether `advertise` has failed and must be retried.
    is_behind: Mutex<bool>,
    unexplained: Mutex<Vec<String>>,
    /// The last findings of the checks of running VMs.
    findings: Mutex<findings::Findings>,
    /// The lasting checks that have passed since the last failed start, by name.
    passed: Mutex<BTreeSet<String>>,
    /// The claims of VMs whose records this version cannot use.
    unreadable: Mutex<Vec<Claim>>,
    pauses: Pauses,
    kept: StaleRecords,
    boots: BootPermits,
    autostart: Mutex<autostart::Autostart>,
    /// Held while a volume is assigned to a VM.
    volume_claims: Mutex<()>,
    /// The open connections to guests.
    connections: connect::OpenConnections,
    /// The ports of the host that reach guests.
    forwards: forwards::HeldForwards,
    typists: console::Typists,
    lifelines: Arc<lifeline::Lifelines>,
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

/// Locks a mutex and ignores poisoning: its value is always replaced as a whole.
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
            volume_claims: Mutex::default(),
            connections: connect::OpenConnections::default(),
            forwards: forwards::HeldForwards::default(),
            typists: console::Typists::default(),
            lifelines: Arc::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The host that everything happens on.
    #[must_use]
    pub fn host(&self) -> &dyn Host {
        &*self.parts.host
    }

    /// The current defaults.
    fn defaults(&self) -> Defaults {
        lock(&self.defaults).clone()
    }

    /// Reloads the configuration, and applies what can change while the daemon runs.
    ///
    /// # Errors
    /// If the configuration is invalid; nothing is applied then.
    pub fn reload(&self) -> Result<ReloadReport> {
        let read = (self.parts.reread)()?;
        *lock(&self.defaults) = read.defaults;
        crate::log::set_level(read.log_level);
        let owned = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
        Ok(ReloadReport {
            changed: owned(read.changed),
            waiting: owned(read.waiting),
        })
    }

    /// Runs `work` for the request with this id, which its operations and log lines have.
    pub fn for_request<T>(&self, request: Option<String>, work: impl FnOnce() -> T) -> T {
        crate::log::within(request, work)
    }

    /// Sets the level of the log, until the configuration is reloaded.
    pub fn set_log_level(&self, wanted: LogLevelView) -> LogLevelView {
        crate::log::set_level(wanted.level);
        tracing::info!(level = %wanted.level, "the log's level is set");
        wanted
    }

    /// Finds a VM by its name, its id, or the first digits of its id.
    fn find(&self, wanted: &VmRef) -> Result<Arc<Slot>> {
        let slots = self.slots();
        if let Some(slot) = slots.iter().find(|slot| wanted.is_name(&slot.vm().name)) {
            return Ok(slot.clone());
        }
        let begins = |slot: &&Arc<Slot>| wanted.begins(slot.vm().id);
        let matches: Vec<&Arc<Slot>> = slots.iter().filter(begins).collect();
        match matches.as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(self.not_found(wanted)),
            several => {
                let what = format!("`{wanted}` is the beginning of several ids");
                Err(ambiguous(what, several).hint("use more digits, or the name"))
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
                format!("the record of `{wanted}` cannot be read; nothing was removed"),
            )
            .hint("see why: banger daemon status");
        }
        let error = Error::new(Code::NotFound, format!("there is no VM `{wanted}`"));
        match self.find_deleted(wanted) {
            Ok(_) => error.hint(format!(
                "it is in the trash; take it back: banger vm undelete {wanted}"
            )),
            Err(_) => error.hint("list all VMs: banger vm list"),
        }
    }

    /// The slots of all VMs except those in the trash, in the order of their ids.
    fn slots(&self) -> Vec<Arc<Slot>> {
        let mut slots = self.all_slots();
        slots.retain(|slot| !slot.vm().is_in_trash());
        slots
    }

    /// All slots, including those in the trash.
    fn all_slots(&self) -> Vec<Arc<Slot>> {
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
    /// `not-found`, or `conflict` if the reference is ambiguous.
    pub fn show(&self, wanted: &VmRef) -> Result<VmView> {
        Ok(self.whole_view(&self.find(wanted)?.vm()))
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
        // A hypervisor may require what is otherwise optional: the stricter check counts.
        for check in readiness::report(self.host(), &checks).checks {
            match report.checks.iter_mut().find(|it| it.name == check.name) {
                Some(seen) => *seen = check,
                None => report.checks.push(check),
            }
        }
        // The requirements of every VM come first.
        report.checks.sort_by_key(|check| check.section.is_some());
        report
    }

    /// The state of the daemon.
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
            trash: self.defaults().trash,
            ..self.parts.daemon.clone()
        }
    }

    /// The time now, for records.
    fn now(&self) -> Timestamp {
        let since = self.host().clocks().realtime;
        Timestamp::try_from(std::time::SystemTime::UNIX_EPOCH + since).unwrap_or_default()
    }

    /// Ends the threads that look after VMs. The VMs keep running.
    pub fn shut_down(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.feed.wake();
        self.close_forwards();
    }

    /// Whether the engine is shut down.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// The error for a reference that matches several VMs.
fn ambiguous(what: String, slots: &[&Arc<Slot>]) -> Error {
    let vms = slots.iter().map(|slot| slot.vm());
    let names: Vec<String> = vms.map(|vm| format!("{} ({})", vm.id, vm.name)).collect();
    Error::new(Code::Conflict, what).cause(names.join(", "))
}

/// Runs one step of a long operation, and reports its beginning and end.
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
