//! The reply to a refused packet: a reset for TCP, "administratively prohibited" (RFC 1812,
//! 5.2.7.1) for the rest, as the firewall of a TAP does.

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{IcmpEchoHeader, Icmpv4Slice, Icmpv4Type, IpFragOffset, IpNumber};
use etherparse::{PacketBuilder, TcpHeaderSlice};

use super::judge::Packet;
use super::{GATEWAY, GUEST};

/// The reply's TTL; it needs one hop.
const HOPS: u8 = 64;

/// The number of payload bytes that ICMP returns (RFC 792).
const QUOTED: usize = 8;

/// The reply to this packet; `None` if none may be sent (RFC 1122, 3.2.2).
pub(super) fn of(packet: &Packet<'_>) -> Option<Vec<u8>> {
    if packet.header.fragments_offset() != IpFragOffset::ZERO {
        return None;
    }
    match packet.tcp() {
        Some(tcp) if tcp.rst() => None,
        Some(tcp) => reset(packet, &tcp),
        None if is_error(packet) => None,
        None => unreachable(packet),
    }
}

/// Whether it is ICMP, and not a ping. Errors are never answered with errors.
fn is_error(packet: &Packet<'_>) -> bool {
    if packet.header.protocol() != IpNumber::ICMP {
        return false;
    }
    !Icmpv4Slice::from_slice(packet.payload()).is_ok_and(|it| {
        matches!(
            it.icmp_type(),
            Icmpv4Type::EchoRequest(IcmpEchoHeader { .. })
        )
    })
}

/// A reset for a connection that does not exist, as in RFC 9293, 3.10.7.1.
fn reset(packet: &Packet<'_>, tcp: &TcpHeaderSlice<'_>) -> Option<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(packet.link.destination(), packet.link.source()).ipv4(
        packet.header.destination(),
        packet.header.source(),
        HOPS,
    );
    let ports = (tcp.destination_port(), tcp.source_port());
    let mut frame = Vec::new();
    let written = if tcp.ack() {
        let builder = builder.tcp(ports.0, ports.1, tcp.acknowledgment_number(), 0);
        builder.rst().write(&mut frame, &[])
    } else {
        let data = packet.payload().len().saturating_sub(tcp.slice().len());
        let data = u32::try_from(data).ok()?;
        let length = data + u32::from(tcp.syn()) + u32::from(tcp.fin());
        let next = tcp.sequence_number().wrapping_add(length);
        let builder = builder.tcp(ports.0, ports.1, 0, 0);
        builder.rst().ack(next).write(&mut frame, &[])
    };
    written.ok().map(|()| frame)
}

fn unreachable(packet: &Packet<'_>) -> Option<Vec<u8>> {
    let header = packet.header.slice().len();
    let quoted = &packet.bytes[..packet.bytes.len().min(header + QUOTED)];
    let prohibited = DestUnreachableHeader::FilterProhibited;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(packet.link.destination(), packet.link.source())
        .ipv4(GATEWAY.octets(), GUEST.octets(), HOPS)
        .icmpv4(Icmpv4Type::DestinationUnreachable(prohibited))
        .write(&mut frame, quoted)
        .ok()
        .map(|()| frame)
}
