//! The real host: Linux, by its own system calls, netlink, ioctls, and nft.
//!
//! | file | what |
//! |---|---|
//! | `change`, `look` | dispatch of changes, and of questions |
//! | `files`, `replacement` | directories and files, written durably |
//! | `disk` | disk images: shared, copied, made, grown, thinned |
//! | `snapshot` | root disks over a shared base, by device-mapper and loop devices |
//! | `netlink`, `interfaces`, `tap`, `neighbour`, `forwarding` | interfaces, addresses, routes, neighbour entries, and their settings |
//! | `ledger` | the interfaces that forward because guests need it, with their old values |
//! | `firewall`, `backstop`, `docker` | our nft table; the restrictions that hold without it; rules in Docker's chain |
//! | `spawn`, `scope` | programs that outlive the daemon |
//! | `children`, `find`, `units` | processes: their identity, and the machine that they belong to |
//! | `probes` | the abilities of this host, each tested in practice |
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

/// The Linux machine that this process runs on.
#[derive(Debug)]
pub struct Linux {
    boot_id: String,
    children: Children,
    firewall: Firewall,
    interfaces: Interfaces,
    docker: docker::DockerAnswer,
    backstop: tap::Support,
    /// The folder of root's data that does not survive a reboot.
    run: PathBuf,
}

impl Linux {
    /// The machine that this process runs on.
    ///
    /// # Errors
    /// If `/proc` does not have the boot id.
    pub fn new() -> Result<Self> {
        Self::in_folder(RUN)
    }

    /// The machine that this process runs on, with the ledger of forwarding in this folder.
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
