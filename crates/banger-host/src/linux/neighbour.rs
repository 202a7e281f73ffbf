//! Permanent neighbour entries: the MAC address behind a TAP, without ARP.
//!
//! The kernel sends no ARP request for an address with a permanent entry, so the first packet to a
//! guest leaves at once, even while the guest sleeps. It also ignores ARP messages about such an
//! address, so nothing that a guest sends changes where its packets go.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt as _;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use super::context::During as _;
use super::netlink::cause;
use crate::{GuestTap, Result};

/// A permanent IPv4 entry.
#[derive(Debug, Clone)]
pub(super) struct Neighbour {
    /// The number of its interface.
    pub(super) interface: u32,
    pub(super) address: Option<Ipv4Addr>,
    /// Its link-layer address; empty if it has none.
    pub(super) link_layer: Vec<u8>,
    message: NeighbourMessage,
}

impl Neighbour {
    /// Whether this is the entry that the TAP is made with.
    pub(super) fn is_of(&self, tap: &GuestTap) -> bool {
        self.address == Some(tap.guest_address) && self.link_layer == tap.mac.octets()
    }
}

/// Every permanent IPv4 entry of the host.
pub(super) async fn permanent(handle: &Handle) -> io::Result<Vec<Neighbour>> {
    let all: Vec<NeighbourMessage> = handle
        .neighbours()
        .get()
        .set_address_family(AddressFamily::Inet)
        .execute()
        .try_collect()
        .await
        .map_err(cause)?;
    let permanent = all
        .into_iter()
        .filter(|it| it.header.state == NeighbourState::Permanent);
    Ok(permanent.map(read).collect())
}

fn read(message: NeighbourMessage) -> Neighbour {
    let mut neighbour = Neighbour {
        interface: message.header.ifindex,
        address: None,
        link_layer: Vec::new(),
        message,
    };
    for attribute in &neighbour.message.attributes {
        if let NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) = attribute {
            neighbour.address = Some(*address);
        } else if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
            neighbour.link_layer.clone_from(bytes);
        }
    }
    neighbour
}

/// Gives the TAP the entry of its guest and removes all others; returns whether anything changed.
pub(super) async fn set(handle: &Handle, interface: u32, tap: &GuestTap) -> Result<bool> {
    let describe = || "set the neighbour entry of its guest".to_owned();
    let there = permanent(handle).await.during(describe)?;
    let own = there.into_iter().filter(|it| it.interface == interface);
    let (right, wrong): (Vec<_>, Vec<_>) = own.partition(|it| it.is_of(tap));
    for neighbour in &wrong {
        let message = neighbour.message.clone();
        let removed = handle.neighbours().del(message).execute().await;
        removed.map_err(cause).during(describe)?;
    }
    if !right.is_empty() {
        return Ok(!wrong.is_empty());
    }
    let set = handle
        .neighbours()
        .add(interface, IpAddr::V4(tap.guest_address))
        .link_layer_address(&tap.mac.octets())
        .replace()
        .execute()
        .await;
    set.map_err(cause).during(describe)?;
    Ok(true)
}

#[cfg(test)]
#[path = "neighbour_tests.rs"]
mod tests;
