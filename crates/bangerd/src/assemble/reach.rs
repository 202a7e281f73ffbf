//! How changes reach the host: by ourselves, through the root helper, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use banger_api::Fix;
use banger_host::{Finding, Helped, Host, Kind, Linux, Look as _, Subnet};

use super::Mode;
use crate::error::{During, Result};
use crate::readiness::Check;
use crate::vm::names::Instance;

/// A host, and how we came to it.
pub(super) struct Reached {
    pub(super) host: Arc<dyn Host>,
    pub(super) root: Root,
    /// What our things are called on it.
    pub(super) instance: Instance,
}

/// What root does for us.
pub(super) enum Root {
    /// We need no help: we are root, or the host is a model.
    NotNeeded,
    /// It serves us.
    Serves {
        /// Who, with what, in words.
        described: String,
        subnet: Subnet,
    },
    /// It does not.
    Absent { uid: u32, state: PathBuf },
}

/// The host of this mode.
pub(super) fn reach(mode: &Mode, state: &Path) -> Result<Reached> {
    let host: Arc<dyn Host> = match mode {
        Mode::Sim(sim) => {
            return Ok(Reached {
                host: Arc::new(sim.clone()),
                root: Root::NotNeeded,
                instance: Instance::new(sim.uid(), state),
            });
        }
        Mode::Real => Arc::new(Linux::new().during("look at the host")?),
    };
    let uid = host.uid();
    let instance = Instance::new(uid, state);
    if uid == 0 {
        banger_host::reserve(state).during("take the names of root's VMs")?;
        return Ok(Reached {
            host,
            root: Root::NotNeeded,
            instance,
        });
    }
    match Helped::connect(uid, state) {
        Ok(helped) => {
            let root = Root::Serves {
                described: helped.described(),
                subnet: helped.claim().subnet,
            };
            tracing::info!(root = helped.described(), "root helps");
            // Root makes the names of the path that it was told at the install.
            let instance = helped.claim().instance().into();
            Ok(Reached {
                host: Arc::new(helped),
                root,
                instance,
            })
        }
        // It is there, and does not come to its word: a daemon that went without it would give VMs
        // other networks and refuse disks for as long as it ran. One that fails is started again.
        Err(error) if error.kind() == Kind::Busy => Err(error).during("wait for root"),
        // Nor is one of another version absent: what it has made would be nobody's to remove.
        Err(error) if error.kind() == Kind::Unsupported => Err(error).during("reach root"),
        Err(error) => {
            tracing::info!(%error, "root does not help");
            Ok(Reached {
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
    /// How changes reach the host, as `DaemonView` says it: `sim`, `direct`, `root-helper` or
    /// `user`.
    pub(super) fn word(&self, mode: &Mode) -> &'static str {
        match (self, mode) {
            (_, Mode::Sim(_)) => "sim",
            (Self::NotNeeded, Mode::Real) => "direct",
            (Self::Serves { .. }, Mode::Real) => "root-helper",
            (Self::Absent { .. }, Mode::Real) => "user",
        }
    }

    /// Whether VMs may have addresses of this network as far as root is concerned.
    pub(super) fn grants(&self, subnet: Subnet) -> bool {
        match self {
            Self::Serves { subnet: own, .. } => *own == subnet,
            Self::NotNeeded | Self::Absent { .. } => true,
        }
    }

    /// What `doctor` says of it.
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
                        hint: "take `subnet` out of ~/.config/banger/config.toml, then: \
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

/// Why it does not help, as it is now.
fn absent(uid: u32, state: &Path) -> Finding {
    match Helped::connect(uid, state) {
        Ok(helped) => Finding::Doubtful {
            found: format!(
                "{}, but not yet when the daemon started",
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
