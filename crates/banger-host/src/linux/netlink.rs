//! Interfaces, addresses and routes, by rtnetlink.
//!
//! The library is asynchronous and our callers are not, so each conversation has a thread and a
//! runtime of its own for the few hundred microseconds that it takes.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::thread;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::link::{InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::context::During as _;
use crate::{Destination, Error, Result, Subnet};

/// The work of one conversation.
pub(super) type Talk<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// Opens a netlink socket, and runs one conversation with the kernel.
pub(super) fn talk<T: Send>(work: impl FnOnce(Handle) -> Talk<'static, T> + Send) -> Result<T> {
    let shown = "speak with the kernel's netlink";
    let speak = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(|cause| Error::io(shown, cause))?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().map_err(|cause| Error::io(shown, cause))?;
            let connection = tokio::spawn(connection);
            let result = work(handle).await;
            connection.abort();
            result
        })
    };
    // The caller's thread may belong to another runtime already, so this uses its own.
    thread::scope(|scope| {
        let panicked = |_| {
            Err(Error::io(
                shown,
                io::Error::other("the conversation broke off"),
            ))
        };
        scope.spawn(speak).join().unwrap_or_else(panicked)
    })
}

/// The operating system's error within a netlink error.
pub(super) fn cause(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

/// Whether the error means that the interface, address or route does not exist.
pub(super) fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|number| {
        [
            Errno::NODEV,
            Errno::NOENT,
            Errno::SRCH,
            Errno::ADDRNOTAVAIL,
            Errno::NXIO,
        ]
        .contains(&Errno::from_raw_os_error(number))
    })
}

/// An interface.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) is_up: bool,
    pub(super) mtu: u32,
    /// Its alias (`IFLA_IFALIAS`).
    pub(super) alias: String,
    /// The attributes that only a TAP has.
    pub(super) tap: Option<TapFacts>,
}

/// The kernel's attributes of a TAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TapFacts {
    pub(super) owner: Option<u32>,
    pub(super) persists: bool,
}

/// The interface of this name, if there is one.
pub(super) async fn link(handle: &Handle, name: &str) -> io::Result<Option<Link>> {
    let found = handle
        .link()
        .get()
        .match_name(name.to_owned())
        .execute()
        .try_next()
        .await;
    match found.map_err(cause) {
        Ok(message) => Ok(message.as_ref().map(read_link)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every interface.
pub(super) async fn links(handle: &Handle) -> io::Result<Vec<Link>> {
    let messages: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(cause)?;
    Ok(messages.iter().map(read_link).collect())
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        name: String::new(),
        index: message.header.index,
        is_up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        alias: String::new(),
        tap: None,
    };
    for attribute in &message.attributes {
        if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = *mtu;
        } else if let LinkAttribute::IfName(name) = attribute {
            link.name.clone_from(name);
        } else if let LinkAttribute::IfAlias(alias) = attribute {
            link.alias.clone_from(alias);
        } else if let LinkAttribute::LinkInfo(parts) = attribute {
            link.tap = read_tap(parts);
        }
    }
    link
}

fn read_tap(parts: &[LinkInfo]) -> Option<TapFacts> {
    // The numbers of IFLA_TUN_* in linux/if_link.h.
    const OWNER: u16 = 1;
    const TYPE: u16 = 3;
    const PERSIST: u16 = 6;
    const TYPE_TAP: u8 = 2;
    if !parts
        .iter()
        .any(|it| matches!(it, LinkInfo::Kind(InfoKind::Tun)))
    {
        return None;
    }
    let mut facts = TapFacts {
        owner: None,
        persists: false,
    };
    let mut is_tap = false;
    for part in parts {
        let LinkInfo::Data(InfoData::Tun(values)) = part else {
            continue;
        };
        for value in values {
            use rtnetlink::packet_core::Nla as _;
            let mut bytes = vec![0; value.value_len()];
            value.emit_value(&mut bytes);
            match (value.kind(), bytes.as_slice()) {
                (OWNER, [a, b, c, d]) => facts.owner = Some(u32::from_ne_bytes([*a, *b, *c, *d])),
                (TYPE, [kind]) => is_tap = *kind == TYPE_TAP,
                (PERSIST, [persists]) => facts.persists = *persists != 0,
                _ => {}
            }
        }
    }
    is_tap.then_some(facts)
}

/// The name of an interface.
pub(super) async fn link_name(handle: &Handle, index: u32) -> io::Result<Option<String>> {
    let found = handle
        .link()
        .get()
        .match_index(index)
        .execute()
        .try_next()
        .await;
    let message = found.map_err(cause)?;
    Ok(message.and_then(|message| {
        message.attributes.into_iter().find_map(|it| match it {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        })
    }))
}

/// One IPv4 route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) to: Subnet,
    /// The interface of its first next hop.
    pub(super) interface: Option<u32>,
    /// The interfaces of its other next hops.
    pub(super) others: Vec<u32>,
}

/// Every unicast IPv4 route, from all tables.
pub(super) async fn routes(handle: &Handle) -> io::Result<Vec<Route>> {
    let query = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let messages: Vec<RouteMessage> = handle
        .route()
        .get(query)
        .execute()
        .try_collect()
        .await
        .map_err(cause)?;
    Ok(messages
        .iter()
        .filter(|it| it.header.kind == RouteType::Unicast)
        .map(read_route)
        .collect())
}

fn read_route(message: &RouteMessage) -> Route {
    let mut route = Route {
        to: Subnet {
            network: Ipv4Addr::UNSPECIFIED,
            prefix: message.header.destination_prefix_length,
        },
        interface: None,
        others: Vec::new(),
    };
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet(address)) = attribute {
            route.to.network = *address;
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            route.others = hops.iter().map(|hop| hop.interface_index).collect();
            route.interface = route.interface.or(route.others.first().copied());
        } else if let RouteAttribute::Oif(index) = attribute {
            route.interface = Some(*index);
        }
    }
    route
}

/// The interface by which the host would reach this address now. The kernel itself decides, so
/// policy rules and a VPN's split default routes count.
pub(super) async fn interface_towards(
    handle: &Handle,
    address: Ipv4Addr,
) -> io::Result<Option<u32>> {
    let query = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, 32)
        .build();
    match handle
        .route()
        .get(query)
        .execute()
        .try_next()
        .await
        .map_err(cause)
    {
        Ok(Some(message)) if message.header.kind == RouteType::Unicast => {
            Ok(read_route(&message).interface)
        }
        Ok(_) => Ok(None),
        // Unreachable networks and hosts, and prohibited routes, have no uplink.
        Err(error) if no_way(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn no_way(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    matches!(
        error.kind(),
        Io::NetworkUnreachable | Io::HostUnreachable | Io::PermissionDenied
    ) || is_absent(error)
        || error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
}

/// The IPv4 addresses of the host, each with its interface and prefix length.
pub(super) async fn all_addresses(handle: &Handle) -> io::Result<Vec<(u32, Ipv4Addr, u8)>> {
    use rtnetlink::packet_route::address::AddressAttribute;
    let mut found = Vec::new();
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await.map_err(cause)? {
        for attribute in &message.attributes {
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
                found.push((message.header.index, *address, message.header.prefix_len));
            }
        }
    }
    Ok(found)
}

/// The IPv4 addresses of an interface, each with its prefix length.
pub(super) async fn addresses(handle: &Handle, index: u32) -> io::Result<Vec<(Ipv4Addr, u8)>> {
    use rtnetlink::packet_route::address::AddressAttribute;
    let mut found = Vec::new();
    let mut messages = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute();
    while let Some(message) = messages.try_next().await.map_err(cause)? {
        for attribute in &message.attributes {
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
                found.push((*address, message.header.prefix_len));
            }
        }
    }
    Ok(found)
}

/// Where the host would route packets to this address now.
pub(crate) fn way_to(address: Ipv4Addr) -> Result<Destination> {
    let look = move || format!("ask the kernel for the way to {address}");
    talk(move |handle| {
        Box::pin(async move {
            let query = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(address, 32)
                .build();
            let found = handle.route().get(query).execute().try_next().await;
            let message = match found.map_err(cause) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Destination::Nowhere),
                Err(error) if no_way(&error) => return Ok(Destination::Nowhere),
                Err(error) => return Err(error).during(look),
            };
            if message.header.kind != RouteType::Unicast {
                return Ok(Destination::Host);
            }
            let name = match read_route(&message).interface {
                Some(index) => link_name(&handle, index).await.during(look)?,
                None => None,
            };
            let is_tap = name.is_some_and(|it| it.starts_with(crate::instance::TAP));
            Ok(if is_tap {
                Destination::Vm
            } else {
                Destination::Outside
            })
        })
    })
}

/// An address that no host has (TEST-NET-2, RFC 5737), so that it takes the default route.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Look::uplink.
pub(super) fn uplink() -> Result<Option<String>> {
    let found = talk(|handle| {
        Box::pin(async move {
            let look = || "ask the kernel for the way out".to_owned();
            match interface_towards(&handle, ELSEWHERE).await.during(look)? {
                Some(index) => link_name(&handle, index).await.during(look),
                None => Ok(None),
            }
        })
    })?;
    Ok(found.filter(|name| name != "lo"))
}
