//! Routed TAPs: one per guest, no bridge.
//!
//! ```text
//! guest 10.0.0.7/32 ── eth0 ── TAP 10.0.0.1/32 ── route 10.0.0.7/32 ── the host's own routes
//!                                              └─ neighbour 10.0.0.7 at the guest's MAC, permanent
//! ```

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::TryStreamExt as _;
use linux_raw_sys::if_tun::{IFF_NO_PI, IFF_TAP, IFF_VNET_HDR};
use rtnetlink::packet_route::route::{RouteProtocol, RouteScope};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::context::During as _;
use super::files::made;
use super::forwarding::{self, Setting};
use super::netlink::{self, Link};
use super::{backstop, interfaces, neighbour, sys};
use crate::{Change, Error, GuestTap, Kind, Result};

/// Frames without a header except virtio's, the format that VMMs expect.
const FLAGS: u32 = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

/// Rejects names that are not banger TAP names: lower-case letters and digits, at most 15.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if (1..=15).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Other,
        format!("`{name}` is not a TAP name of banger"),
    ))
}

/// Opens the TAP of this name, which is created if necessary.
fn attach(name: &str) -> Result<File> {
    check_name(name)?;
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    let tun = tun
        .during(|| "open `/dev/net/tun`".to_owned())
        .map_err(|error| match error.kind() {
            Kind::Missing => error.hint("sudo modprobe tun"),
            _ => error,
        })?;
    sys::attach_tap(&tun, name, FLAGS).during(|| format!("open the TAP `{name}`"))?;
    Ok(tun)
}

/// Opens an existing TAP.
pub(super) fn open(name: &str) -> Result<OwnedFd> {
    if find(name)?.is_none() {
        return Err(Error::new(
            Kind::Missing,
            format!("there is no TAP `{name}`"),
        ));
    }
    attach(name).map(OwnedFd::from)
}

/// Makes a temporary TAP, to see whether we may; returns whether it accepts the backstop's
/// programs.
pub(super) fn try_one(name: &str) -> Result<bool> {
    let _tap = attach(name)?;
    let Some(link) = find(name)? else {
        return Err(Error::new(Kind::Missing, format!("`{name}` disappeared")));
    };
    netlink::talk(move |handle| {
        Box::pin(async move {
            let any = Ipv4Addr::UNSPECIFIED;
            match backstop::put(&handle, link.index, any, any).await {
                Err(error) if backstop::is_lacking(&error) => Ok(false),
                other => other
                    .during(|| "give it programs".to_owned())
                    .map(|()| true),
            }
        })
    })
}

/// The interface of this name, if there is one.
fn find(name: &str) -> Result<Option<Link>> {
    let wanted = name.to_owned();
    netlink::talk(|handle| {
        Box::pin(async move {
            netlink::link(&handle, &wanted)
                .await
                .during(|| format!("examine `{wanted}`"))
        })
    })
}

/// The part of RootOp::MakeTap that makes the TAP. Its nft filter exists already.
///
/// `backstop` remembers whether this kernel supports the TAP's own programs.
pub(super) fn make(name: &str, wanted: &GuestTap, backstop: &Support) -> Result<Change> {
    let describe = || format!("create the TAP `{name}`");
    check_name(name).map_err(|error| error.within(describe()))?;
    let there = find(name)?;
    let is_so = match &there {
        Some(Link { tap: Some(tap), .. }) => tap.persists && tap.owner == Some(wanted.uid),
        Some(Link { tap: None, .. }) => {
            let text = "an interface with this name exists, and is not a TAP";
            return Err(Error::new(Kind::Busy, text)
                .hint(format!("see: ip -details link show {name}"))
                .within(describe()));
        }
        None => false,
    };
    if !is_so {
        create(name, wanted).map_err(|error| error.within(describe()))?;
    }
    if there.is_none() {
        // On a host that forwards everywhere, a new interface forwards, too.
        forwarding::set(&Setting::Forwarding(name), false)?;
    }
    // IPv6 is disabled before the TAP is up, so that it never sends or receives any.
    let quiet = forwarding::set(&Setting::NoIpv6(name), true)?;
    let (of_netlink, lacks) = ((name.to_owned(), wanted.clone()), backstop.clone());
    let configured = netlink::talk(move |handle| Box::pin(configure(handle, of_netlink, lacks)))
        .map_err(|error| error.within(describe()))?;
    Ok(made(!is_so || configured || quiet == Change::Made))
}

/// Whether this kernel is known to lack support for the programs of TAPs.
#[derive(Debug, Clone, Default)]
pub(super) struct Support(Arc<AtomicBool>);

impl Support {
    pub(super) fn is_lacking(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Creates the interface, or makes an existing one the owner's.
fn create(name: &str, wanted: &GuestTap) -> Result<()> {
    let tap = attach(name)?;
    let describe = || format!("give the TAP to user {}", wanted.uid);
    sys::set_tap_owner(&tap, wanted.uid).during(describe)?;
    sys::set_tap_persistent(&tap).during(|| "make the TAP persistent".to_owned())
}

/// Configures what the interface lacks, and returns whether anything changed.
async fn configure(
    handle: Handle,
    (name, wanted): (String, GuestTap),
    lacks: Support,
) -> Result<bool> {
    let look = || format!("examine the TAP `{name}`");
    let Some(link) = netlink::link(&handle, &name).await.during(look)? else {
        return Err(Error::new(Kind::Missing, "it disappeared during setup"));
    };
    // Both come before the TAP is up.
    let mut changed = put_programs(&handle, &link, &wanted, &lacks).await?;
    changed |= set_alias(&handle, &link, &wanted).await?;
    changed |= set_address(&handle, &link, &wanted).await?;
    if !link.is_up || link.mtu != wanted.mtu {
        let message = LinkMessageBuilder::<LinkUnspec>::new()
            .index(link.index)
            .mtu(wanted.mtu)
            .up()
            .build();
        let set = handle.link().set(message).execute().await;
        set.map_err(netlink::cause)
            .during(|| "set it up".to_owned())?;
        changed = true;
    }
    // The entry comes after the TAP is up: an interface that goes down loses its neighbours.
    changed |= neighbour::set(&handle, link.index, &wanted).await?;
    Ok(set_route(&handle, &link, &wanted).await? || changed)
}

/// Attaches the programs that confine the guest without nft, if this kernel supports them.
async fn put_programs(
    handle: &Handle,
    link: &Link,
    wanted: &GuestTap,
    lacks: &Support,
) -> Result<bool> {
    let (host, guest) = (wanted.host_address, wanted.guest_address);
    let look = || "examine its programs".to_owned();
    let programs = backstop::programs(host, guest);
    let standing = backstop::standing(handle, link.index).await.during(look)?;
    if programs.iter().all(|one| standing.contains(one)) {
        return Ok(false);
    }
    match backstop::put(handle, link.index, host, guest).await {
        Err(error) if backstop::is_lacking(&error) => {
            lacks.0.store(true, Ordering::Relaxed);
            Ok(false)
        }
        other => other
            .during(|| "attach its programs".to_owned())
            .map(|()| true),
    }
}

/// The alias of a TAP, for people and for the program that restores the table.
fn alias(guest: Ipv4Addr, nat: bool) -> String {
    let nat = if nat { " NAT" } else { "" };
    format!("{ALIAS} {guest}{nat}")
}

/// The prefix of every [`alias`].
const ALIAS: &str = "banger";

/// The guest's address, and whether it has NAT, from a TAP's alias.
fn read_alias(text: &str) -> Option<(Ipv4Addr, bool)> {
    let mut words = text.split(' ');
    let (Some(ALIAS), Some(address)) = (words.next(), words.next()) else {
        return None;
    };
    Some((address.parse().ok()?, words.next() == Some("NAT")))
}

async fn set_alias(handle: &Handle, link: &Link, wanted: &GuestTap) -> Result<bool> {
    if read_alias(&link.alias).is_some_and(|it| it.0 == wanted.guest_address) {
        return Ok(false);
    }
    write_alias(handle, link.index, alias(wanted.guest_address, false)).await?;
    Ok(true)
}

async fn write_alias(handle: &Handle, index: u32, alias: String) -> Result<()> {
    let message = LinkMessageBuilder::<LinkUnspec>::new()
        .index(index)
        .alias(alias)
        .build();
    let set = handle.link().set(message).execute().await;
    set.map_err(netlink::cause)
        .during(|| "record its owner".to_owned())
}

/// A TAP with its guest's address, and whether the guest has NAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TapRecord {
    pub(crate) tap: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) nat: bool,
}

/// The TAPs of every banger on this host, by their aliases.
pub(crate) fn remembered() -> Result<Vec<TapRecord>> {
    let seen = interfaces::read()?;
    let taps = seen.links().filter(|it| it.tap.is_some());
    let taps = taps.filter(|it| it.name.starts_with(interfaces::TAPS));
    let read = |link: &Link| {
        let (address, nat) = read_alias(&link.alias)?;
        Some(TapRecord {
            tap: link.name.clone(),
            address,
            nat,
        })
    };
    Ok(taps.filter_map(read).collect())
}

/// Records in the alias of this guest's TAP whether it has NAT; does nothing without a TAP.
pub(super) fn remember_nat(address: Ipv4Addr, nat: bool) -> Result<()> {
    let wrong = |it: &Link| {
        it.tap.is_some()
            && it.name.starts_with(interfaces::TAPS)
            && read_alias(&it.alias) == Some((address, !nat))
    };
    let seen = interfaces::read()?;
    let Some(link) = seen.links().find(|it| wrong(it)) else {
        return Ok(());
    };
    let index = link.index;
    netlink::talk(move |handle| {
        Box::pin(async move { write_alias(&handle, index, alias(address, nat)).await })
    })
}

/// Gives the TAP the host's address, and removes all others.
async fn set_address(handle: &Handle, link: &Link, wanted: &GuestTap) -> Result<bool> {
    let look = || "examine its addresses".to_owned();
    let own = (wanted.host_address, 32);
    let there = netlink::addresses(handle, link.index).await.during(look)?;
    let mut changed = false;
    for other in there.iter().filter(|it| **it != own) {
        let mut messages = handle
            .address()
            .get()
            .set_link_index_filter(link.index)
            .set_address_filter(other.0.into())
            .execute();
        while let Some(message) = messages
            .try_next()
            .await
            .map_err(netlink::cause)
            .during(look)?
        {
            let removed = handle
                .address()
                .del(message)
                .execute()
                .await
                .map_err(netlink::cause);
            removed.during(|| format!("remove the address {}", other.0))?;
            changed = true;
        }
    }
    if there.contains(&own) {
        return Ok(changed);
    }
    let address = IpAddr::V4(wanted.host_address);
    let add = handle.address().add(link.index, address, 32).replace();
    add.execute()
        .await
        .map_err(netlink::cause)
        .during(|| format!("add the address {address}"))?;
    Ok(true)
}

/// Routes the guest's address to this TAP only.
async fn set_route(handle: &Handle, link: &Link, wanted: &GuestTap) -> Result<bool> {
    let guest = wanted.guest_address;
    let describe = || format!("set the route to {guest}");
    let routes = netlink::routes(handle).await.during(describe)?;
    let mut here = routes
        .iter()
        .filter(|it| it.to.network == guest && it.to.prefix == 32);
    // A route that another TAP left behind is replaced: it would take every answer.
    if here.clone().count() == 1 && here.all(|it| it.interface == Some(link.index)) {
        return Ok(false);
    }
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(guest, 32)
        .output_interface(link.index)
        .scope(RouteScope::Link)
        .protocol(RouteProtocol::Static)
        .build();
    let add = handle.route().add(route).replace();
    add.execute()
        .await
        .map_err(netlink::cause)
        .during(describe)?;
    Ok(true)
}

/// RootOp::RemoveTap.
pub(super) fn remove(name: &str) -> Result<Change> {
    let describe = || format!("remove the TAP `{name}`");
    check_name(name).map_err(|error| error.within(describe()))?;
    let link = match find(name)? {
        None => return Ok(Change::Already),
        Some(Link { tap: None, .. }) => {
            let text = "the interface of this name is no TAP";
            return Err(Error::new(Kind::Busy, text).within(describe()));
        }
        Some(link) => link,
    };
    let removed = netlink::talk(|handle| {
        Box::pin(async move {
            match handle
                .link()
                .del(link.index)
                .execute()
                .await
                .map_err(netlink::cause)
            {
                Ok(()) => Ok(Ok(())),
                Err(error) if netlink::is_absent(&error) => Ok(Ok(())),
                Err(error) => Ok::<io::Result<()>, Error>(Err(error)),
            }
        })
    })?;
    removed.during(describe)?;
    Ok(Change::Made)
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
