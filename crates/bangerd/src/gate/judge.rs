//! What becomes of a frame that the guest sends.
//!
//! | frame | NAT | no NAT |
//! |---|---|---|
//! | ARP | passes | passes |
//! | an answer of the guest's SSH server to the forwarded port | passes | passes |
//! | a ping of the gateway or the resolver, which QEMU answers itself | passes | passes |
//! | a question to the resolver, port 53 | passes | refused |
//! | to the host, the rest of QEMU's own network, another VM, loopback, link-local | refused | refused |
//! | to a group or to everybody; IPv6; anything else | dropped | dropped |
//! | to any other IPv4 address | passes | refused |
//!
//! It reads a frame as QEMU's library does, byte by byte the same; what the two could read
//! differently, such as a fragment that hides its ports, has none of the exceptions.

use std::net::Ipv4Addr;

use etherparse::{EtherType, Ethernet2Slice, IpNumber, Ipv4HeaderSlice, TcpHeaderSlice};
use etherparse::{IpFragOffset, UdpHeaderSlice};

use super::{GATEWAY, GUEST, RESOLVER, refusal};

/// The port of the guest's SSH server, which alone is forwarded to.
const SSH: u16 = 22;

/// The port of a resolver.
const DNS: u16 = 53;

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Passes,
    /// It goes nowhere, and nobody is told.
    Dropped,
    /// It goes nowhere, and the guest is sent this frame.
    Refused(Vec<u8>),
}

/// Who knows which addresses the host sends away from itself.
pub(super) trait Routing {
    /// Whether the host sends what goes to this address to another machine, not to itself or to a
    /// VM.
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
    /// All of it, header first, without what pads the frame.
    pub(super) bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads it; `None` where the lengths contradict each other.
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

    /// What follows the header.
    pub(super) fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header.slice().len()..]
    }

    /// Whether it is whole, so that its ports are its own.
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

    /// A ping of what QEMU itself answers for.
    fn is_ping_of_qemu(&self) -> bool {
        self.header.protocol() == IpNumber::ICMP
            && [GATEWAY, RESOLVER].contains(&self.header.destination_addr())
    }

    /// A packet of a connection that was forwarded to the guest's SSH server: its answers come from
    /// that port, and never ask for a new connection.
    fn is_forwarded(&self) -> bool {
        self.header.destination_addr() == GATEWAY
            && self.is_whole()
            && self
                .tcp()
                .is_some_and(|tcp| tcp.source_port() == SSH && (!tcp.syn() || tcp.ack()))
    }

    /// A question to the resolver.
    fn is_question(&self) -> bool {
        let tcp = || self.tcp().map(|it| it.destination_port());
        let udp = || self.udp().map(|it| it.destination_port());
        self.header.destination_addr() == RESOLVER
            && self.is_whole()
            && tcp().or_else(udp) == Some(DNS)
    }
}

impl<O: Routing> Judge<O> {
    /// Lets the guest out where `nat` says so, to what is outside.
    pub(super) fn new(nat: bool, outside: O) -> Self {
        Self { nat, outside }
    }

    /// What becomes of this frame.
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

/// Whether packets to this address are for a group, for everybody, or for nobody.
fn is_for_many(address: Ipv4Addr) -> bool {
    // 240.0.0.0/4 is reserved, and its last address is everybody.
    address.is_multicast() || address.octets()[0] >= 240 || address == Ipv4Addr::new(10, 0, 2, 255)
}

/// Whether this address can be another machine's at all, whatever the host's routes say.
fn may_be_outside(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // The kernel takes 0.0.0.0 for the host itself.
    let is_host = a == 0 || address.is_loopback();
    // QEMU takes all of its own network for the host, but for the resolver.
    let is_qemu = [a, b, c] == [10, 0, 2];
    !is_host && !is_qemu && !address.is_link_local()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
