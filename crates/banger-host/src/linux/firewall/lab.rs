//! The rules against real packets: guests, the host and the outside each have a network namespace.
//!
//! ```text
//! guest 1 (10.88.0.11) ── bg1a ─┐
//!                               host (10.88.0.1, 192.0.2.1) ── up0 ── outside (192.0.2.2)
//! guest 2 (10.88.0.12) ── bg1b ─┘
//! ```
//!
//! The rules match interfaces by name, so a guest's interface is a veth pair's end with a TAP's
//! name.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};

pub(super) use super::*;
use crate::linux::testing::{TestNamespace, run};

pub(super) const TABLE: &str = "banger_test";
pub(super) const PREFIX: &str = "bg1";
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
pub(super) const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub(super) const GUESTS: [(&str, Ipv4Addr); 2] = [
    ("bg1a", Ipv4Addr::new(10, 88, 0, 11)),
    ("bg1b", Ipv4Addr::new(10, 88, 0, 12)),
];
/// Another host's address, which guest 1 has in addition to its own.
pub(super) const SPOOFED: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 99);
pub(super) const ECHO: u16 = 7;

/// The time to wait for an answer that must come; the machine of the tests may be busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The silence after which no answer counts as coming.
pub(super) const SILENCE: Duration = Duration::from_millis(300);

/// Sends an echo request, and returns whether it is answered; see RFC 792.
pub(super) fn pings(to: Ipv4Addr) -> bool {
    use rustix::net::{AddressFamily, SocketType, ipproto, socket};
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
    // The raw socket sends and receives like a UDP socket, except for the headers.
    let raw = UdpSocket::from(raw);
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    // Type 8, code 0, checksum, identifier 1, sequence number 1.
    raw.send_to(&[8, 0, 0xf7, 0xfd, 0, 1, 0, 1], (to, 0))
        .unwrap();
    let mut answer = [0; 64];
    // After the 20 bytes of the IP header, type 0 is the echo reply.
    raw.recv_from(&mut answer)
        .is_ok_and(|(length, _)| length == 28 && answer[20] == 0)
}

pub(super) struct Lab {
    pub(super) firewall: Firewall,
    pub(super) guests: Vec<TestNamespace>,
    pub(super) outside: TestNamespace,
}

/// Echoes each datagram of the port, with the sender's address, until the test ends.
pub(super) fn echo(address: Ipv4Addr) {
    let udp = UdpSocket::bind((address, ECHO)).unwrap();
    let tcp = TcpListener::bind((address, ECHO)).unwrap();
    // These threads end with the test's process, and hold only their sockets.
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let answer = format!(
                "{}|{}",
                String::from_utf8_lossy(&buffer[..length]),
                from.ip()
            );
            if answer.starts_with("end") || udp.send_to(answer.as_bytes(), from).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

/// Sends a datagram, and returns the sender's address as the other side sees it.
pub(super) fn ask(socket: &UdpSocket, to: Ipv4Addr, wait: Duration) -> Option<String> {
    socket.set_read_timeout(Some(wait)).unwrap();
    socket.send_to(b"who", (to, ECHO)).ok()?;
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    text.split_once('|').map(|(_, who)| who.to_owned())
}

pub(super) fn ask_from(from: Ipv4Addr, to: Ipv4Addr) -> Option<String> {
    ask(&UdpSocket::bind((from, 0)).unwrap(), to, PATIENCE)
}

pub(super) fn asks_in_vain(from: Ipv4Addr, to: Ipv4Addr) -> bool {
    ask(&UdpSocket::bind((from, 0)).unwrap(), to, SILENCE).is_none()
}

pub(super) fn connect(to: Ipv4Addr, wait: Duration) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddrV4::new(to, ECHO).into(), wait).ok()?;
    stream.set_read_timeout(Some(wait)).unwrap();
    Some(stream)
}

pub(super) fn answers(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

/// Switches forwarding as for a guest with NAT, or without.
pub(super) fn forward(interface: &str, on: bool) {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
    std::fs::write(path, if on { "1" } else { "0" }).unwrap();
}

/// Attaches the programs of a TAP.
fn backstop(tap: &'static str, address: Ipv4Addr) {
    use crate::linux::{backstop, netlink};
    netlink::talk(move |handle| {
        Box::pin(async move {
            let link = netlink::link(&handle, tap).await.unwrap().unwrap();
            backstop::put(&handle, link.index, HOST, address)
                .await
                .unwrap();
            Ok(())
        })
    })
    .unwrap();
}

impl Lab {
    pub(super) fn new() -> Self {
        let guests: Vec<TestNamespace> = GUESTS.iter().map(|_| TestNamespace::new()).collect();
        let outside = TestNamespace::new();
        for ((tap, address), guest) in GUESTS.iter().zip(&guests) {
            run(
                "ip",
                &format!("link add {tap} type veth peer name eth0 netns {}", guest.id),
            );
            run("ip", &format!("address add {HOST}/32 dev {tap}"));
            run("ip", &format!("link set {tap} up"));
            run("ip", &format!("route add {address}/32 dev {tap}"));
            run(
                "ip",
                &format!("route replace {SPOOFED}/32 dev {}", GUESTS[0].0),
            );
            forward(tap, true);
            guest.run(move || {
                run("ip", &format!("address add {address}/32 dev eth0"));
                run("ip", "link set eth0 up");
                run("ip", &format!("route add {HOST} dev eth0"));
                run("ip", &format!("route add default via {HOST}"));
                echo(*address);
            });
        }
        guests[0].run(|| run("ip", &format!("address add {SPOOFED}/32 dev eth0")));
        run(
            "ip",
            &format!("link add up0 type veth peer name up0 netns {}", outside.id),
        );
        run("ip", &format!("address add {UPLINK}/24 dev up0"));
        run("ip", "link set up0 up");
        run("ip", &format!("route add {METADATA} via {OUTSIDE}"));
        forward("up0", true);
        outside.run(|| {
            run("ip", &format!("address add {OUTSIDE}/24 dev up0"));
            run("ip", "link set up0 up");
            run("ip", &format!("address add {METADATA}/32 dev lo"));
            run("ip", &format!("route add 10.88.0.0/16 via {UPLINK}"));
            echo(OUTSIDE);
            echo(METADATA);
        });
        echo(UPLINK);
        echo(HOST);
        let lab = Self {
            firewall: Firewall::default(),
            guests,
            outside,
        };
        // Without rules everything reaches everything, which shows that the network itself works.
        assert_eq!(lab.guest_asks(0, OUTSIDE).as_deref(), Some("10.88.0.11"));
        assert_eq!(
            lab.guest_asks(0, GUESTS[1].1).as_deref(),
            Some("10.88.0.11")
        );
        assert_eq!(lab.guest_asks(0, UPLINK).as_deref(), Some("10.88.0.11"));
        assert_eq!(lab.guest_asks(0, METADATA).as_deref(), Some("10.88.0.11"));
        assert!(lab.guests[0].run(|| ask_from(SPOOFED, OUTSIDE)).is_some());
        assert!(lab.outside.run(|| ask_from(OUTSIDE, GUESTS[0].1)).is_some());
        for (tap, address) in GUESTS {
            let made = lab
                .firewall
                .allow_guest(TABLE, PREFIX, tap, address)
                .unwrap();
            assert_eq!(made, Change::Made);
            forward(tap, false);
            backstop(tap, address);
        }
        lab
    }

    pub(super) fn guest_asks(&self, guest: usize, to: Ipv4Addr) -> Option<String> {
        self.guests[guest].run(move || ask_from(GUESTS[guest].1, to))
    }

    pub(super) fn guest_asks_in_vain(&self, guest: usize, to: Ipv4Addr) -> bool {
        self.guests[guest].run(move || asks_in_vain(GUESTS[guest].1, to))
    }

    pub(super) fn nat(&self, guest: usize, on: bool) -> Change {
        let (tap, address) = GUESTS[guest];
        forward(tap, on);
        if on {
            self.firewall.allow_nat(TABLE, PREFIX, address).unwrap()
        } else {
            self.firewall.forbid_nat(TABLE, address).unwrap()
        }
    }

    pub(super) fn holds(&self, guests: &[usize], nat: &[usize]) -> bool {
        // Drops the cached listing.
        *self.firewall.lock() = None;
        let guests: Vec<_> = guests
            .iter()
            .map(|it| (GUESTS[*it].0.to_owned(), GUESTS[*it].1))
            .collect();
        let nat: Vec<_> = nat.iter().map(|it| GUESTS[*it].1).collect();
        self.firewall.holds(TABLE, &guests, &nat).unwrap()
    }
}
