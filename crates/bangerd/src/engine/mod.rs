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
mod find;
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
mod parts;
mod pause;
mod permits;
mod protection;
mod record;
mod recover;
mod rename;
mod set;
mod stall;
mod start;
mod steps;
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

use banger_api::{DaemonView, LogLevelView, Progress, ReloadReport, Report, VmId, VmRef, VmView};
use banger_host::Host;
use jiff::Timestamp;

use crate::error::Result;
use crate::readiness::{self, Check};
use crate::vm::claim::Claim;
use crate::vm::store::Store;
use events::Feed;
use hold::Slot;
use pause::Pauses;
use permits::BootPermits;
use record::StaleRecords;
use steps::{copying_step, step};

pub use connect::Connection;
pub use console::{ConsolePiece, ConsoleReader, ConsoleSession, Typing};
pub use events::KEPT_EVENTS;
pub use lifeline::Lifeline;
pub use parts::{Defaults, Parts, Reread};
pub use view::{CHUNK, ConsoleChunk};

/// Receives each step of a long operation.
pub type ProgressSink<'a> = &'a (dyn Fn(Progress) + Sync);

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
    /// What was on the host and belonged to no VM when it was last looked for.
    strangers: Mutex<Vec<String>>,
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
    /// Whether the resolver answers.
    answering: AtomicBool,
    stopping: AtomicBool,
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
            strangers: Mutex::default(),
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
            answering: AtomicBool::new(false),
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

    /// Runs `work` for a client that `is_gone` asks after: a copy that it waits for ends with it.
    pub fn for_client<T>(
        &self,
        is_gone: impl Fn() -> bool + Send + Sync + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        crate::waiter::within(std::sync::Arc::new(is_gone), work)
    }

    /// Sets the level of the log, until the configuration is reloaded.
    pub fn set_log_level(&self, wanted: LogLevelView) -> LogLevelView {
        crate::log::set_level(wanted.level);
        tracing::info!(level = %wanted.level, "the log's level is set");
        wanted
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
            dns: self
                .parts
                .daemon
                .dns
                .clone()
                .filter(|_| self.answering.load(Ordering::SeqCst)),
            unexplained: self.unexplained(),
            log_level: crate::log::level(),
            trash: self.defaults().trash,
            ..self.parts.daemon.clone()
        }
    }

    /// Says whether the resolver answers.
    pub fn set_answering(&self, answering: bool) {
        self.answering.store(answering, Ordering::SeqCst);
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
