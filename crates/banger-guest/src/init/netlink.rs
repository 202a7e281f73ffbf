//! The three rtnetlink requests that a guest needs, encoded by hand.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use crate::failure::{Context as _, Failure, Result};

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const ERROR: u16 = 2;

/// The flags of an acknowledged request, and of one that also creates or replaces an object.
const REQUEST: u16 = 0x1 | 0x4;
const REPLACE: u16 = REQUEST | 0x400 | 0x100;

const INET: u8 = 2;
const UP: u32 = 1;

/// Attributes of links, addresses and routes.
const LINK_MTU: u16 = 4;
const ADDRESS: u16 = 1;
const LOCAL_ADDRESS: u16 = 2;
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const GATEWAY: u16 = 5;

/// The main table, the origin of manual routes, the scope of a route, and the type of a unicast
/// route.
const MAIN_TABLE: u8 = 254;
const STATIC: u8 = 4;
const EVERYWHERE: u8 = 0;
const LINK: u8 = 253;
const UNICAST: u8 = 1;

const HEADER: usize = 16;

/// A route to add.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Route {
    /// To one address, directly on the link.
    OnLink(Ipv4Addr),
    /// To everything else, through a gateway.
    Default(Ipv4Addr),
}

/// A netlink socket for the kernel's network settings.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
}

/// A request: a header, the body of its kind, and attributes, each padded to four bytes.
struct Request(Vec<u8>);

impl Request {
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        Self(bytes)
    }

    fn with(mut self, kind: u16, value: [u8; 4]) -> Self {
        self.0.extend(8_u16.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(0);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

impl Netlink {
    pub(crate) fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
            .while_doing(|| "configure the network over netlink".to_owned())?;
        Ok(Self { socket })
    }

    fn ask(&mut self, request: Request) -> Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &request.finish(), SendFlags::empty(), &kernel)
            .map_err(Failure::new)?;
        let mut answer = [0; 4096];
        let (_, length) =
            recv(&self.socket, answer.as_mut_slice(), RecvFlags::empty()).map_err(Failure::new)?;
        verdict(&answer[..length.min(answer.len())])
    }

    /// Brings an interface up, and sets its MTU, in bytes, if given.
    pub(crate) fn bring_up(&mut self, index: u32, mtu: Option<u32>) -> Result<()> {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend(UP.to_ne_bytes());
        body.extend(UP.to_ne_bytes());
        let mut request = Request::new(NEW_LINK, REQUEST, &body);
        if let Some(mtu) = mtu {
            request = request.with(LINK_MTU, mtu.to_ne_bytes());
        }
        self.ask(request)
    }

    /// Gives an interface an address.
    pub(crate) fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let mut body = vec![INET, prefix, 0, EVERYWHERE];
        body.extend(index.to_ne_bytes());
        let request = Request::new(NEW_ADDRESS, REPLACE, &body)
            .with(LOCAL_ADDRESS, address.octets())
            .with(ADDRESS, address.octets());
        self.ask(request)
    }

    /// Adds a route through an interface.
    pub(crate) fn add_route(&mut self, index: u32, route: Route) -> Result<()> {
        let (length, scope, attribute, address) = match route {
            Route::OnLink(address) => (32, LINK, DESTINATION, address),
            Route::Default(gateway) => (0, EVERYWHERE, GATEWAY, gateway),
        };
        let body = [
            INET, length, 0, 0, MAIN_TABLE, STATIC, scope, UNICAST, 0, 0, 0, 0,
        ];
        let request = Request::new(NEW_ROUTE, REPLACE, &body)
            .with(attribute, address.octets())
            .with(INTERFACE, index.to_ne_bytes());
        self.ask(request)
    }
}

/// The result in the kernel's acknowledgement: a negated error number, or zero.
fn verdict(answer: &[u8]) -> Result<()> {
    let kind = answer
        .get(4..6)
        .map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    let number = answer.get(HEADER..HEADER + 4);
    match (kind, number) {
        (Some(ERROR), Some(bytes)) => {
            match i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) {
                0 => Ok(()),
                number => Err(Failure::new(Errno::from_raw_os_error(-number))),
            }
        }
        _ => Err(Failure::new(
            "the kernel's answer is not an acknowledgement",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_its_length_and_its_attributes() {
        let request = Request::new(NEW_ADDRESS, REPLACE, &[INET, 32, 0, 0, 2, 0, 0, 0])
            .with(LOCAL_ADDRESS, [10, 215, 0, 5])
            .finish();
        assert_eq!(request.len(), 16 + 8 + 8);
        assert_eq!(request[..4], 32_u32.to_ne_bytes());
        assert_eq!(request[24..], [8, 0, 2, 0, 10, 215, 0, 5]);
    }

    #[test]
    fn the_kernel_says_yes_or_why_not() {
        let answer = |number: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&ERROR.to_ne_bytes());
            bytes[16..20].copy_from_slice(&number.to_ne_bytes());
            bytes
        };
        verdict(&answer(0)).unwrap();
        let refused = verdict(&answer(-17)).unwrap_err().to_string();
        assert!(refused.contains("exists"), "{refused}");
        verdict(&[0; 5]).unwrap_err();
    }

    #[test]
    fn this_kernel_knows_what_is_asked() {
        let mut netlink = Netlink::open().unwrap();
        netlink.bring_up(u32::MAX >> 1, None).unwrap_err();
    }
}
