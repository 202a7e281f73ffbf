//! A network and a port that nothing else on this machine uses.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use rustix::fs::{FlockOperation, flock};

/// A network for a few guests, reserved for this test until it is dropped.
#[derive(Debug)]
pub(crate) struct Subnet {
    /// The network without its last number: `10.214.7`.
    pub(crate) prefix: String,
    /// The lock that makes other test runs use other networks.
    _claim: File,
}

impl Subnet {
    /// The first network that no other test run has reserved and no route of this host overlaps.
    pub(crate) fn claim() -> Self {
        let routes = std::fs::read_to_string("/proc/net/route").unwrap();
        (0..=255)
            .find_map(|third| {
                if is_routed(&routes, Ipv4Addr::new(10, 214, third, 0)) {
                    return None;
                }
                let path = std::env::temp_dir().join(format!("banger-test-subnet-{third}.lock"));
                let claim = File::create(path).ok()?;
                flock(&claim, FlockOperation::NonBlockingLockExclusive).ok()?;
                Some(Self {
                    prefix: format!("10.214.{third}"),
                    _claim: claim,
                })
            })
            .expect("a network of 10.214.0.0/16 is free")
    }
}

/// Whether a route below 10.0.0.0/8 leads into this /24.
fn is_routed(routes: &str, network: Ipv4Addr) -> bool {
    let routes = routes.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
        let destination = number(fields.next()?)?;
        let mask = number(fields.nth(5)?)?;
        Some((destination, mask))
    });
    let network = u32::from(network);
    routes
        .filter(|(_, mask)| mask.leading_ones() > 8)
        .any(|(destination, mask)| {
            let mask = mask & 0xffff_ff00;
            destination & mask == network & mask
        })
}

/// A port of 127.0.0.1 that is unused for UDP and TCP now.
pub(crate) fn free_port() -> u16 {
    (0..100)
        .find_map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
            let port = socket.local_addr().ok()?.port();
            TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
        })
        .expect("a port of 127.0.0.1 is free")
}
