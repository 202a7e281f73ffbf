//! The real host: Linux, by its own system calls, netlink, ioctls, and nft.
//!
//! | file | what |
//! |---|---|
//! | `change`, `look` | the list of changes and the list of questions |
//! | `files`, `replacement` | directories and files, written durably |
//! | `disk` | disk images: shared, copied, made, grown, thinned |
//! | `snapshot` | root disks over a shared base, by device-mapper and loop devices |
//! | `netlink`, `interfaces`, `tap`, `neighbour`, `forwarding` | interfaces, addresses, routes, who is behind them, their settings |
//! | `ledger` | which interfaces forward because guests need it, and what they did before |
//! | `firewall`, `backstop`, `docker` | our nft table; what holds without it; being let through by Docker's |
//! | `spawn`, `scope` | programs that outlive us |
//! | `children`, `find`, `units` | processes that cannot be mistaken, and whose they are |
//! | `probes` | what this host can do, tried for real |
//! | `sys` | the only unsafe code |

mod archive;
mod backstop;
mod change;
pub(crate) mod children;
mod context;
mod disk;
pub(crate) mod docker;
mod files;
mod find;
mod firewall;
mod forwarding;
mod interfaces;
mod ledger;
mod look;
mod neighbour;
mod netlink;
pub(crate) mod node;
pub(crate) mod probes;
mod replacement;
mod resolvers;
mod room;
pub(crate) mod scope;
pub(crate) mod snapshot;
pub(crate) mod spawn;
#[expect(
    unsafe_code,
    reason = "ioctls, what a child does between fork and exec, the environment"
)]
pub(crate) mod sys;
pub(crate) mod tap;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod units;
mod usage;

use std::path::PathBuf;

use children::Children;
use firewall::Firewall;
use interfaces::Interfaces;

use crate::Result;
use crate::root::RUN;

pub(crate) use netlink::way_to;
pub(crate) use snapshot::node_path as snapshot_node;

/// The Linux machine that we run on.
#[derive(Debug)]
pub struct Linux {
    boot_id: String,
    children: Children,
    firewall: Firewall,
    interfaces: Interfaces,
    docker: docker::DockerAnswer,
    backstop: tap::Support,
    /// Where root keeps what is gone with the boot.
    run: PathBuf,
}

impl Linux {
    /// The machine that we run on.
    ///
    /// # Errors
    /// When `/proc` does not say which boot this is.
    pub fn new() -> Result<Self> {
        Self::in_folder(RUN)
    }

    /// The machine that we run on, with the ledger of forwarding in this folder.
    pub(crate) fn in_folder(run: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self {
            boot_id: children::boot_id()?,
            children: Children::default(),
            firewall: Firewall::default(),
            interfaces: Interfaces::default(),
            docker: docker::DockerAnswer::default(),
            backstop: tap::Support::default(),
            run: run.into(),
        })
    }
}
