//! The listening sockets, from the kernel's own tables.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use banger_guest::streams::ListeningSocket;

/// The state of a listening socket in the kernel's tables.
const LISTEN: &str = "0A";

/// Whether a socket listens on `port`, over IPv4 or IPv6.
pub(crate) fn listens(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let text = fs::read_to_string(table).unwrap_or_default();
        is_in(&text, port)
    })
}

fn is_in(table: &str, port: u16) -> bool {
    let ending = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&ending) && fields.nth(1) == Some(LISTEN)
    })
}

/// The maximum number of sockets that are reported.
const MOST: usize = 4096;

/// The state of an unconnected UDP socket.
const UNCONNECTED: &str = "07";

/// Every socket that takes connections or datagrams, by port.
pub(super) fn all() -> Vec<ListeningSocket> {
    let mut found = Vec::new();
    for (table, protocol, state) in [
        ("tcp", "tcp", LISTEN),
        ("tcp6", "tcp", LISTEN),
        ("udp", "udp", UNCONNECTED),
        ("udp6", "udp", UNCONNECTED),
    ] {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        found.extend(rows(&text, protocol, state));
    }
    found.truncate(MOST);
    let owners = owners();
    let mut all: Vec<ListeningSocket> = found
        .into_iter()
        .map(|(mut socket, inode)| {
            if let Some((pid, name)) = owners.get(&inode) {
                socket.pid = Some(*pid);
                socket.process = Some(name.clone());
            }
            socket
        })
        .collect();
    all.sort_by(|a, b| (a.port, &a.protocol, a.address).cmp(&(b.port, &b.protocol, b.address)));
    all
}

/// The sockets of a table in this state, with their inodes.
fn rows(table: &str, protocol: &str, state: &str) -> Vec<(ListeningSocket, u64)> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        let socket = ListeningSocket {
            protocol: protocol.to_owned(),
            address: address_of(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            pid: None,
            process: None,
        };
        let inode = fields.get(9)?.parse().ok()?;
        (fields.get(3) == Some(&state)).then_some((socket, inode))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// An address as the kernel prints it: words of four bytes in the machine's order.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok();
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into());
    }
    let mut bytes = [0; 16];
    for at in 0..4 {
        bytes[4 * at..4 * at + 4].copy_from_slice(&word(8 * at)?.to_ne_bytes());
    }
    (text.len() == 32).then(|| Ipv6Addr::from(bytes).into())
}

/// The process that has each socket open, by inode; of several, the one with the lowest number.
fn owners() -> BTreeMap<u64, (u32, String)> {
    let mut owners = BTreeMap::new();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        let sockets: Vec<u64> = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .filter_map(|entry| inode_of(&fs::read_link(entry.ok()?.path()).ok()?))
            .collect();
        if sockets.is_empty() {
            continue;
        }
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        for inode in sockets {
            let owner = (pid, name.trim_end().to_owned());
            owners.entry(inode).or_insert(owner);
        }
    }
    owners
}

fn inode_of(link: &std::path::Path) -> Option<u64> {
    let text = link.to_str()?.strip_prefix("socket:[")?;
    text.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n\
        \x20  0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000\n\
        \x20  1: 0500D70A:0050 0100D70A:C001 01 00000000:00000000 00:00000000\n";

    #[test]
    fn only_listeners_count() {
        assert!(is_in(TABLE, 22));
        assert!(!is_in(TABLE, 80), "that one is connected");
        assert!(!is_in(TABLE, 2222));
        assert!(!is_in("", 22));
    }

    #[test]
    fn a_real_listener_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(port));
        drop(listener);
        assert!(!listens(port));
    }

    #[test]
    fn sockets_are_found_with_their_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let all = all();
        let find = |port, protocol| {
            let found = all
                .iter()
                .find(|it| it.port == port && it.protocol == protocol);
            found.expect("it listens").clone()
        };
        let tcp = find(listener.local_addr().unwrap().port(), "tcp");
        assert_eq!(tcp.address, IpAddr::from([127, 0, 0, 1]));
        assert!(tcp.pid.is_some() && tcp.process.is_some(), "{tcp:?}");
        let udp = find(other.local_addr().unwrap().port(), "udp");
        assert_eq!(udp.address, IpAddr::from(Ipv6Addr::LOCALHOST));
    }
}
