//! The policy for frames of a guest: pass, drop, or refuse.
//!
//! | frame | NAT | no NAT |
//! |---|---|---|
//! | ARP | passes | passes |
//! | an answer of the guest's SSH server to the forwarded port | passes | passes |
//! | a ping of the gateway or the resolver, which QEMU answers itself | passes | passes |
//! | a query to the resolver, port 53 | passes | refused |
//! | to the host, the rest of QEMU's own network, another VM, loopback, link-local | refused | refused |
//! | multicast and broadcast; IPv6; anything else | dropped | dropped |
//! | to any other IPv4 address | passes | refused |
//!
//! It parses frames exactly as QEMU's library does. The exceptions do not apply to packets that the
//! two could parse differently, such as a fragment that hides its ports.

use std::net::Ipv4Addr;

use etherparse::{EtherType, Ethernet2Slice, IpNumber, Ipv4HeaderSlice, TcpHeaderSlice};
use etherparse::{IpFragOffset, UdpHeaderSlice};

use super::{GATEWAY, GUEST, RESOLVER, refusal};

/// The port of the guest's SSH server, the only forwarded one.
const SSH: u16 = 22;

/// The port of a resolver.
const DNS: u16 = 53;

/// The verdict on a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes.
    Passes,
    /// It is dropped silently.
    Dropped,
    /// It is dropped, and the guest gets this frame.
    Refused(Vec<u8>),
}

/// The host's routing table.
pub(super) trait Routing {
    /// Whether the host routes this address to another machine, not to itself or to a VM.
    fn is_outside(&mut self, address: Ipv4Addr) -> bool;
}

/// Judges the frames of one guest.
#[derive(Debug)]
pub(super) struct Judge<O> {
    nat: bool,
    outside: O,
}

/// An IPv4 packet and the frame around it.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) link: Ethernet2Slice<'a>,
    pub(super) header: Ipv4HeaderSlice<'a>,
    /// The packet with its header, without the frame's padding.
    pub(super) bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses it; `None` if the lengths contradict each other.
    fn read(link: Ethernet2Slice<'a>) -> Option<Self> {
        let bytes = link.payload_slice();
        let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
        let length = usize::from(header.total_len());
        let bytes = bytes.get(..length)?;
        (length >= header.slice().len()).then_some(Self {
            link,
            header,
            bytes,
        })
    }

    /// The bytes after the header.
    pub(super) fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header.slice().len()..]
    }

    /// Whether it is unfragmented, so that its ports are readable.
    fn is_whole(&self) -> bool {
        !self.header.more_fragments() && self.header.fragments_offset() == IpFragOffset::ZERO
    }

    pub(super) fn tcp(&self) -> Option<TcpHeaderSlice<'a>> {
        (self.header.protocol() == IpNumber::TCP)
            .then(|| TcpHeaderSlice::from_slice(self.payload()).ok())
            .flatten()
    }

    fn udp(&self) -> Option<UdpHeaderSlice<'a>> {
        (self.header.protocol() == IpNumber::UDP)
            .then(|| UdpHeaderSlice::from_slice(self.payload()).ok())
            .flatten()
    }

    /// A ping of an address that QEMU itself answers.
    fn is_ping_of_qemu(&self) -> bool {
        self.header.protocol() == IpNumber::ICMP
            && [GATEWAY, RESOLVER].contains(&self.header.destination_addr())
    }

    /// A packet of a connection forwarded to the guest's SSH server: it comes from that port, and
    /// is never the beginning of a connection.
    fn is_forwarded(&self) -> bool {
        self.header.destination_addr() == GATEWAY
            && self.is_whole()
            && self
                .tcp()
                .is_some_and(|tcp| tcp.source_port() == SSH && (!tcp.syn() || tcp.ack()))
    }

    /// A query to the resolver.
    fn is_question(&self) -> bool {
        let tcp = || self.tcp().map(|it| it.destination_port());
        let udp = || self.udp().map(|it| it.destination_port());
        self.header.destination_addr() == RESOLVER
            && self.is_whole()
            && tcp().or_else(udp) == Some(DNS)
    }
}

impl<O: Routing> Judge<O> {
    /// A policy that lets the guest reach other machines if `nat` is set.
    pub(super) fn new(nat: bool, outside: O) -> Self {
        Self { nat, outside }
    }

    /// The verdict on this frame.
    pub(super) fn judge(&mut self, frame: &[u8]) -> Verdict {
        let Ok(link) = Ethernet2Slice::from_slice_without_fcs(frame) else {
            return Verdict::Dropped;
        };
        match link.ether_type() {
            EtherType::ARP => Verdict::Passes,
            EtherType::IPV4 => match Packet::read(link) {
                Some(packet) => self.judge_packet(&packet),
                None => Verdict::Dropped,
            },
            _ => Verdict::Dropped,
        }
    }

    fn judge_packet(&mut self, packet: &Packet<'_>) -> Verdict {
        let to = packet.header.destination_addr();
        if packet.header.source_addr() != GUEST || is_for_many(to) {
            return Verdict::Dropped;
        }
        let passes = packet.is_forwarded()
            || packet.is_ping_of_qemu()
            || (self.nat
                && (packet.is_question() || (may_be_outside(to) && self.outside.is_outside(to))));
        if passes {
            return Verdict::Passes;
        }
        refusal::of(packet).map_or(Verdict::Dropped, Verdict::Refused)
    }
}

/// Whether this address is multicast, broadcast or reserved.
fn is_for_many(address: Ipv4Addr) -> bool {
    // 240.0.0.0/4 is reserved; its last address is broadcast.
    address.is_multicast() || address.octets()[0] >= 240 || address == Ipv4Addr::new(10, 0, 2, 255)
}

/// Whether this address can belong to another machine, regardless of the host's routes.
fn may_be_outside(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // To the kernel, 0.0.0.0 is the host itself.
    let is_host = a == 0 || address.is_loopback();
    // QEMU maps its own network to the host, except the resolver.
    let is_qemu = [a, b, c] == [10, 0, 2];
    !is_host && !is_qemu && !address.is_link_local()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
