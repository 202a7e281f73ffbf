//! What an engine is assembled from.

use std::fmt;
use std::sync::Arc;

use banger_api::{DaemonView, LogLevel, VmSpec, VmSpecPatch};
use banger_host::Host;

use crate::capability::Capability;
use crate::error::Result;
use crate::guest::program::GuestProgram;
use crate::guest::shell::Shell;
use crate::hypervisor::Hypervisor;
use crate::image::catalog::Catalog;
use crate::layout::Layout;
use crate::naming::NameSource;
use crate::readiness::Check;
use crate::vm::names::Instance;

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

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("capabilities", &self.capabilities)
            .field("hypervisors", &self.hypervisors)
            .finish_non_exhaustive()
    }
}
