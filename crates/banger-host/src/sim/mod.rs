//! A simulated host in memory, below all of banger's logic.
//!
//! It keeps the state of a host (files, snapshots, TAPs, nft elements, forwarding settings,
//! processes), and rejects what a host rejects. A test can make it fail at the n-th change, fail at
//! every change of a kind, or crash, after which nothing works until it is revived.
//!
//! ```text
//!   change ──► crashed? ──► the n-th? ──► does the plan refuse it? ──► the model
//!                 │             │                   │
//!              Crashed      `injected`          `injected`
//! ```
//!
//! It is part of the product: `bangerd --sim` runs on it. A simulated process is one entry; the
//! simulated hypervisor lets guests end it.

mod archive;
mod change;
mod files;
mod ledger;
mod look;
mod network;
mod snapshot;
mod state;

pub use state::{SimFile, SimPermission, SimProcess, SimSnapshot, SimState, SimTable};

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Exit, Finding, Kind, Op, Probe, Resolvers, Result};

/// A host in memory. Clones share its state.
#[derive(Clone)]
pub struct Sim {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<SimState>,
    plan: Mutex<Plan>,
    /// Held while the ledger is read, changed and written.
    ledger: Mutex<()>,
    changes: AtomicU64,
    silences: AtomicU64,
    looks: AtomicU64,
    ended: Condvar,
    started: Instant,
}

/// The faults that a test has planned.
#[derive(Default)]
struct Plan {
    crashed: bool,
    /// The number of the change that fails, once.
    fail_at: Option<u64>,
    /// The number of the change before which the host crashes.
    crash_before: Option<u64>,
    /// Picks the changes that fail.
    refuse: Option<Arc<dyn Fn(&Op) -> bool + Send + Sync>>,
    /// The findings of probes, by a predicate.
    findings: Vec<(Box<dyn Fn(&Probe) -> bool + Send + Sync>, Finding)>,
    free_mib: Option<u64>,
    largest_file: Option<u64>,
    /// Whether files cannot share blocks.
    shares_nothing: bool,
    /// How long questions about the firewall take before they fail.
    silent: Option<Duration>,
}

impl Default for Sim {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("changes", &self.changes())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sim {
    /// A fresh host with one uplink, `eth0`, that does not forward.
    #[must_use]
    pub fn new() -> Self {
        let state = SimState {
            forwarding: BTreeMap::from([("eth0".to_owned(), false)]),
            ways_out: vec!["eth0".to_owned()],
            resolvers: Resolvers {
                servers: vec![Ipv4Addr::new(192, 0, 2, 53).into()],
                ..Resolvers::default()
            },
            ..SimState::default()
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                plan: Mutex::new(Plan::default()),
                ledger: Mutex::default(),
                changes: AtomicU64::new(0),
                silences: AtomicU64::new(0),
                looks: AtomicU64::new(0),
                ended: Condvar::new(),
                started: Instant::now(),
            }),
        }
    }

    /// The number of changes asked for so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.inner.changes.load(Ordering::SeqCst)
    }

    /// Makes the `n`-th change from now fail, once (0 is the next).
    pub fn fail_at(&self, n: u64) {
        lock(&self.inner.plan).fail_at = Some(self.changes() + n);
    }

    /// Crashes the host just before the `n`-th change from now: that change and all later ones
    /// fail, and so does every question, until [`Sim::revive`].
    pub fn crash_before(&self, n: u64) {
        lock(&self.inner.plan).crash_before = Some(self.changes() + n);
    }

    /// Makes every change that `picks` selects fail. A change waits for `picks` to return.
    pub fn refuse(&self, picks: impl Fn(&Op) -> bool + Send + Sync + 'static) {
        lock(&self.inner.plan).refuse = Some(Arc::new(picks));
    }

    /// Answers the probes that `picks` selects with this finding.
    pub fn find(&self, picks: impl Fn(&Probe) -> bool + Send + Sync + 'static, finding: Finding) {
        lock(&self.inner.plan)
            .findings
            .push((Box::new(picks), finding));
    }

    /// Makes each question about the firewall and forwarding fail after this time, as with a silent
    /// root.
    pub fn be_silent(&self, patience: Duration) {
        lock(&self.inner.plan).silent = Some(patience);
    }

    /// The number of questions that had no answer for [`Sim::be_silent`].
    #[must_use]
    pub fn silences(&self) -> u64 {
        self.inner.silences.load(Ordering::SeqCst)
    }

    /// Sets the free space, in MiB. At 0, changes that need space fail with [`Kind::NoSpace`].
    pub fn set_free_mib(&self, free: u64) {
        lock(&self.inner.plan).free_mib = Some(free);
    }

    /// Sets the length of the longest file, in bytes.
    pub fn set_largest_file(&self, length: u64) {
        lock(&self.inner.plan).largest_file = Some(length);
    }

    /// Makes files share no blocks, as on ext4.
    pub fn share_no_blocks(&self) {
        lock(&self.inner.plan).shares_nothing = true;
    }

    /// Clears all plans and ends a crash, so that the next process finds a working host.
    pub fn revive(&self) {
        *lock(&self.inner.plan) = Plan::default();
    }

    /// Reboots the host, as after a power cut: only directories and files remain.
    pub fn reboot(&self) {
        self.tamper(|state| {
            let fresh = Self::new().state();
            *state = SimState {
                directories: std::mem::take(&mut state.directories),
                files: std::mem::take(&mut state.files),
                permissions: std::mem::take(&mut state.permissions),
                reboots: state.reboots + 1,
                ..fresh
            };
        });
    }

    /// Whether a planned crash has happened.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        lock(&self.inner.plan).crashed
    }

    /// A copy of the current state.
    #[must_use]
    pub fn state(&self) -> SimState {
        lock(&self.inner.state).clone()
    }

    /// Changes the state from outside, as another program or a guest would.
    pub fn tamper<T>(&self, with: impl FnOnce(&mut SimState) -> T) -> T {
        let answer = with(&mut lock(&self.inner.state));
        self.inner.ended.notify_all();
        answer
    }

    /// Ends a process from inside, as when a guest powers off.
    pub fn end_process(&self, pid: u32, exit: Exit) {
        self.tamper(|state| {
            if let Some(process) = state.processes.get_mut(&pid) {
                process.exit.get_or_insert(exit);
            }
        });
    }

    /// Writes to a disk from inside: without free space the machine stalls, otherwise it continues.
    /// Returns whether it continues.
    pub fn write(&self, pid: u32) -> bool {
        let is_full = lock(&self.inner.plan).free_mib == Some(0);
        self.tamper(|state| {
            if let Some(process) = state.processes.get_mut(&pid) {
                process.stalled = is_full;
            }
        });
        !is_full
    }

    /// Whether a machine is stalled because a write found no space.
    #[must_use]
    pub fn is_stalled(&self, pid: u32) -> bool {
        let state = lock(&self.inner.state);
        state.processes.get(&pid).is_some_and(|it| it.stalled)
    }

    /// Appends to a file from inside, as a guest writes to its console.
    pub fn append(&self, path: &Path, text: &str) {
        self.tamper(|state| {
            let file = state.files.entry(path.to_owned()).or_default();
            file.contents.extend_from_slice(text.as_bytes());
            file.length = file.length.max(file.contents.len() as u64);
        });
    }

    /// Counts a change, and fails it if that is planned.
    fn count(&self, op: Option<&Op>) -> Result<()> {
        let n = self.inner.changes.fetch_add(1, Ordering::SeqCst);
        let mut plan = lock(&self.inner.plan);
        if plan.crash_before.is_some_and(|crash| n >= crash) {
            plan.crashed = true;
        }
        if plan.crashed {
            return Err(crashed());
        }
        if plan.fail_at == Some(n) {
            return Err(injected(n));
        }
        let refuse = plan.refuse.clone();
        drop(plan);
        if let (Some(refuse), Some(op)) = (refuse, op)
            && refuse(op)
        {
            return Err(injected(n));
        }
        Ok(())
    }

    /// The number of questions so far that could have failed.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.inner.looks.load(Ordering::SeqCst)
    }

    /// Counts a question, and fails it while the host is crashed.
    fn awake(&self) -> Result<()> {
        self.inner.looks.fetch_add(1, Ordering::SeqCst);
        if lock(&self.inner.plan).crashed {
            Err(crashed())
        } else {
            Ok(())
        }
    }
}

fn crashed() -> Error {
    Error::new(Kind::Crashed, "the simulated host has crashed")
}

fn injected(n: u64) -> Error {
    Error::new(Kind::Other, format!("injected fault at change {n}"))
}
