//! The guest's network interface: its address and its routes, set directly in the kernel.

use std::fs;
use std::time::Duration;

use banger_guest::config::Network;

use super::netlink::{Netlink, Route};
use crate::failure::{Context as _, Failure, Result};
use crate::system::wait;

const INTERFACES: &str = "/sys/class/net";

/// The loopback interface is always the first one.
const LOOPBACK: u32 = 1;

/// How long an interface may take to appear after its driver was loaded.
const PATIENCE: Duration = Duration::from_secs(5);

fn index(name: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("{INTERFACES}/{name}/ifindex")).ok()?;
    text.trim().parse().ok()
}

/// Brings up the loopback interface and the guest's own, with address and routes.
pub(crate) fn configure(network: &Network) -> Result<()> {
    let name = &network.interface;
    let mut netlink = Netlink::open()?;
    netlink
        .bring_up(LOOPBACK, None)
        .while_doing(|| "bring `lo` up".to_owned())?;
    let index = wait::until(PATIENCE, || index(name))
        .ok_or_else(|| Failure::new(format!("the network interface `{name}` does not exist")))?;
    let what = || format!("give `{name}` its address");
    netlink
        .add_address(index, network.address, network.prefix)
        .while_doing(what)?;
    netlink
        .bring_up(index, network.mtu)
        .while_doing(|| format!("bring `{name}` up"))?;
    if network.on_link_gateway {
        netlink
            .add_route(index, Route::OnLink(network.gateway))
            .while_doing(|| format!("route to {}", network.gateway))?;
    }
    netlink
        .add_route(index, Route::Default(network.gateway))
        .while_doing(|| format!("route everything over {}", network.gateway))
}
