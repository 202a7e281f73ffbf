//! How changes reach the host: directly, through the root helper, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use banger_api::Fix;
use banger_host::{DelegatingLinux, Finding, Host, Kind, Linux, Look as _, Subnet};

use super::Mode;
use crate::error::{During, Result};
use crate::readiness::Check;
use crate::vm::names::Instance;

/// A host, and how it is reached.
pub(super) struct Reach {
    pub(super) host: Arc<dyn Host>,
    pub(super) root: Root,
    /// The installation, which names banger's things on the host.
    pub(super) instance: Instance,
}

/// The root helper's part.
pub(super) enum Root {
    /// Not needed: the daemon is root, or the host is simulated.
    NotNeeded,
    /// The root helper serves this daemon.
    Serves {
        /// The helper and its grants, for a person.
        described: String,
        subnet: Subnet,
    },
    /// The root helper is not available.
    Absent { uid: u32, state: PathBuf },
}

/// Connects to the host of this mode.
pub(super) fn reach(mode: &Mode, state: &Path) -> Result<Reach> {
    let host: Arc<dyn Host> = match mode {
        Mode::Sim(sim) => {
            return Ok(Reach {
                host: Arc::new(sim.clone()),
                root: Root::NotNeeded,
                instance: Instance::new(sim.uid(), state),
            });
        }
        Mode::Real => Arc::new(Linux::new().during("examine the host")?),
    };
    let uid = host.uid();
    let instance = Instance::new(uid, state);
    if uid == 0 {
        banger_host::reserve(state).during("reserve the names of root's VMs")?;
        return Ok(Reach {
            host,
            root: Root::NotNeeded,
            instance,
        });
    }
    match DelegatingLinux::connect(uid, state) {
        Ok(helped) => {
            let root = Root::Serves {
                described: helped.described(),
                subnet: helped.claim().subnet,
            };
            tracing::info!(root = helped.described(), "root helps");
            // Root derives the names from the path that was given at the installation.
            let instance = helped.claim().instance().into();
            Ok(Reach {
                host: Arc::new(helped),
                root,
                instance,
            })
        }
        // The helper exists but does not answer in time. A daemon without it would choose other
        // networks and reject disks for its whole life; a daemon that fails is started again.
        Err(error) if error.kind() == Kind::Busy => Err(error).during("wait for root"),
        // A helper of another version counts as present, too: nothing else could remove what it
        // made.
        Err(error) if error.kind() == Kind::Unsupported => Err(error).during("reach root"),
        Err(error) => {
            tracing::info!(%error, "root does not help");
            Ok(Reach {
                host,
                root: Root::Absent {
                    uid,
                    state: state.to_owned(),
                },
                instance,
            })
        }
    }
}

impl Root {
    /// How changes reach the host, for `DaemonView`: `sim`, `direct`, `root-helper` or `user`.
    pub(super) fn word(&self, mode: &Mode) -> &'static str {
        match (self, mode) {
            (_, Mode::Sim(_)) => "sim",
            (Self::NotNeeded, Mode::Real) => "direct",
            (Self::Serves { .. }, Mode::Real) => "root-helper",
            (Self::Absent { .. }, Mode::Real) => "user",
        }
    }

    /// Whether the root helper allows addresses of this network.
    pub(super) fn grants(&self, subnet: Subnet) -> bool {
        match self {
            Self::Serves { subnet: own, .. } => *own == subnet,
            Self::NotNeeded | Self::Absent { .. } => true,
        }
    }

    /// The check of the root helper.
    pub(super) fn check(&self, configured: Subnet) -> Option<Check> {
        let name = "root helper";
        match self {
            Self::NotNeeded => None,
            Self::Serves { described, subnet } => {
                let finding = if self.grants(configured) {
                    Finding::Good(described.clone())
                } else {
                    Finding::Doubtful {
                        found: format!("root grants {subnet}, and {configured} is configured"),
                        hint: "remove `subnet` from ~/.config/banger/config.toml, then: \
                               banger daemon stop"
                            .to_owned(),
                    }
                };
                Some(Check::new(name, move |_| finding.clone()))
            }
            Self::Absent { uid, state } => {
                let (uid, state) = (*uid, state.clone());
                let check = Check::new(name, move |_| absent(uid, &state));
                Some(check.fixed_by(|_| {
                    let what = "set up banger as a service, with its root helper";
                    Some(Fix::banger(what, &["system", "install"]))
                }))
            }
        }
    }
}

/// Why the root helper is not available now.
fn absent(uid: u32, state: &Path) -> Finding {
    match DelegatingLinux::connect(uid, state) {
        Ok(helped) => Finding::Doubtful {
            found: format!(
                "{}, but did not when the daemon started",
                helped.described()
            ),
            hint: "restart the daemon: banger daemon stop".to_owned(),
        },
        Err(error) => {
            let hint = error.hints().into_iter().next();
            let mut found = error.to_string();
            let mut below = std::error::Error::source(&error);
            while let Some(cause) = below {
                found = format!("{found}: {cause}");
                below = cause.source();
            }
            Finding::Doubtful {
                found,
                hint: hint.unwrap_or_else(|| "banger system install".to_owned()),
            }
        }
    }
}
