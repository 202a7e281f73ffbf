use etherparse::{PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

const GUEST_MAC: [u8; 6] = [0x02, 0xba, 1, 2, 3, 4];
const GATEWAY_MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

/// A host with one address of its own, and its neighbour.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 1);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 9);

struct Routes;

impl Routing for Routes {
    fn is_outside(&mut self, address: Ipv4Addr) -> bool {
        address != HOST
    }
}

fn judge(nat: bool, frame: &[u8]) -> Verdict {
    Judge::new(nat, Routes).judge(frame)
}

fn to(address: Ipv4Addr) -> PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(GUEST_MAC, GATEWAY_MAC).ipv4(GUEST.octets(), address.octets(), 64)
}

fn syn(address: Ipv4Addr, from: u16, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = to(address).tcp(from, port, 1000, 64_000).syn();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

fn datagram(address: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = to(address).udp(40_000, port);
    builder.write(&mut frame, b"question").unwrap();
    frame
}

fn ping(address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = to(address).icmpv4_echo_request(1, 1);
    builder.write(&mut frame, b"ping").unwrap();
    frame
}

fn is_refused(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Refused(_))
}

#[test]
fn nat_leads_to_other_machines_and_never_to_the_host() {
    assert_eq!(judge(true, &syn(NEIGHBOUR, 40_000, 80)), Verdict::Passes);
    assert_eq!(judge(true, &datagram(NEIGHBOUR, 123)), Verdict::Passes);
    assert_eq!(judge(true, &ping(NEIGHBOUR)), Verdict::Passes);
    let host = [
        GATEWAY,
        RESOLVER,
        Ipv4Addr::new(10, 0, 2, 77),
        Ipv4Addr::new(10, 0, 2, 0),
        HOST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(127, 255, 0, 9),
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::new(0, 1, 2, 3),
        Ipv4Addr::new(169, 254, 169, 254),
    ];
    for address in host {
        for port in [22, 80, 8099, 36_501] {
            let verdict = judge(true, &syn(address, 40_000, port));
            assert!(is_refused(&verdict), "TCP to {address}:{port}: {verdict:?}");
            let verdict = judge(true, &datagram(address, port));
            assert!(is_refused(&verdict), "UDP to {address}:{port}: {verdict:?}");
        }
    }
}

#[test]
fn packets_for_many_are_dropped_without_an_answer() {
    for address in [
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(240, 0, 0, 1),
        Ipv4Addr::new(224, 0, 0, 251),
        Ipv4Addr::new(10, 0, 2, 255),
    ] {
        for frame in [syn(address, 40_000, 8099), datagram(address, 67)] {
            assert_eq!(judge(true, &frame), Verdict::Dropped, "{address}");
        }
    }
}

#[test]
fn without_nat_only_the_answers_of_the_ssh_server_pass() {
    for frame in [
        syn(NEIGHBOUR, 40_000, 80),
        datagram(NEIGHBOUR, 53),
        ping(NEIGHBOUR),
        datagram(RESOLVER, 53),
        syn(GATEWAY, 22, 8099),
    ] {
        let verdict = judge(false, &frame);
        assert!(is_refused(&verdict), "{verdict:?}");
    }
    let mut answer = Vec::new();
    let builder = to(GATEWAY).tcp(22, 40_000, 7, 64_000).syn().ack(1);
    builder.write(&mut answer, &[]).unwrap();
    assert_eq!(judge(false, &answer), Verdict::Passes);
    let mut data = Vec::new();
    let builder = to(GATEWAY).tcp(22, 40_000, 7, 64_000).ack(1);
    builder.write(&mut data, b"SSH-2.0").unwrap();
    assert_eq!(judge(false, &data), Verdict::Passes);
    assert_eq!(judge(false, &ping(GATEWAY)), Verdict::Passes);
}

#[test]
fn the_ssh_servers_port_opens_no_connection_to_the_host() {
    // For the library behind QEMU, a packet with SYN and without ACK opens a connection.
    for (with_push, with_ece) in [(false, false), (true, false), (false, true)] {
        let mut builder = to(GATEWAY).tcp(22, 8099, 7, 64_000).syn();
        if with_push {
            builder = builder.psh();
        }
        if with_ece {
            builder = builder.ece().cwr();
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        assert!(is_refused(&judge(true, &frame)));
    }
}

#[test]
fn the_resolver_answers_on_its_one_port_only() {
    assert_eq!(judge(true, &datagram(RESOLVER, 53)), Verdict::Passes);
    assert_eq!(judge(true, &syn(RESOLVER, 40_000, 53)), Verdict::Passes);
    assert!(is_refused(&judge(true, &datagram(RESOLVER, 54))));
    assert!(is_refused(&judge(true, &syn(RESOLVER, 53, 8099))));
}

#[test]
fn a_fragment_has_no_exception() {
    for (frame, offset) in [
        (datagram(RESOLVER, 53), 0x2000_u16),
        (datagram(RESOLVER, 53), 8),
    ] {
        let mut frame = frame;
        frame[20..22].copy_from_slice(&offset.to_be_bytes());
        assert_ne!(judge(true, &frame), Verdict::Passes);
    }
}

#[test]
fn another_source_is_dropped() {
    let mut frame = syn(NEIGHBOUR, 40_000, 80);
    frame[26..30].copy_from_slice(&[127, 0, 0, 1]);
    assert_eq!(judge(true, &frame), Verdict::Dropped);
}

#[test]
fn what_is_neither_arp_nor_ipv4_is_dropped() {
    for ether_type in [0x86dd_u16, 0x8100, 0x88f8, 0x0000] {
        let mut frame = syn(NEIGHBOUR, 40_000, 80);
        frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
        assert_eq!(judge(true, &frame), Verdict::Dropped, "{ether_type:#x}");
    }
    let mut arp = vec![0; 42];
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(judge(false, &arp), Verdict::Passes);
}

#[test]
fn a_connection_that_is_refused_is_reset_at_once() {
    let Verdict::Refused(answer) = judge(true, &syn(HOST, 40_000, 8099)) else {
        panic!("it is not refused");
    };
    let answer = SlicedPacket::from_ethernet(&answer).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &answer.net else {
        panic!("{answer:?}");
    };
    assert_eq!(ip.header().source_addr(), HOST);
    assert_eq!(ip.header().destination_addr(), GUEST);
    let Some(TransportSlice::Tcp(tcp)) = &answer.transport else {
        panic!("{answer:?}");
    };
    assert!(tcp.rst() && tcp.ack() && !tcp.syn());
    assert_eq!((tcp.source_port(), tcp.destination_port()), (8099, 40_000));
    assert_eq!(tcp.acknowledgment_number(), 1001);
    let computed = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination());
    assert_eq!(computed.unwrap(), tcp.checksum());
}

#[test]
fn a_rejected_datagram_is_answered_by_icmp_with_its_first_bytes() {
    let frame = datagram(HOST, 8099);
    let Verdict::Refused(answer) = judge(true, &frame) else {
        panic!("it is not refused");
    };
    let answer = SlicedPacket::from_ethernet(&answer).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = &answer.transport else {
        panic!("{answer:?}");
    };
    assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 13));
    assert_eq!(icmp.payload(), &frame[14..14 + 28]);
}

#[test]
fn neither_resets_nor_errors_are_answered() {
    let mut reset = Vec::new();
    let builder = to(HOST).tcp(40_000, 80, 1, 0).rst();
    builder.write(&mut reset, &[]).unwrap();
    assert_eq!(judge(true, &reset), Verdict::Dropped);
    let mut error = Vec::new();
    let prohibited = etherparse::icmpv4::DestUnreachableHeader::FilterProhibited;
    let kind = etherparse::Icmpv4Type::DestinationUnreachable(prohibited);
    let builder = to(HOST).icmpv4(kind);
    builder.write(&mut error, &[0; 28]).unwrap();
    assert_eq!(judge(true, &error), Verdict::Dropped);
}

proptest! {
    #[test]
    fn no_frame_whatever_it_holds_reaches_the_host(
        mut frame in prop::collection::vec(any::<u8>(), 0..120),
        address in prop::sample::select(vec![
            [127, 0, 0, 1], [10, 0, 2, 2], [10, 0, 2, 9], [0, 0, 0, 0], [192, 168, 7, 1],
            [255, 255, 255, 255], [169, 254, 1, 1],
        ]),
        shape in 0..3,
    ) {
        // Random bytes are rarely a valid frame, so most of these have a nearly valid head.
        if frame.len() > 54 && shape > 0 {
            let length = u16::try_from(frame.len() - 14).unwrap();
            frame[12..14].copy_from_slice(&[8, 0]);
            frame[14] = 0x45 + u8::try_from(shape - 1).unwrap();
            frame[16..18].copy_from_slice(&length.to_be_bytes());
            frame[26..30].copy_from_slice(&GUEST.octets());
        }
        if frame.len() >= 34 {
            frame[30..34].copy_from_slice(&address);
        }
        let is_packet = frame.get(12..14) == Some(&[8, 0]);
        if is_packet && judge(true, &frame) == Verdict::Passes {
            // The exceptions: answers of the SSH server, pings of the gateway.
            prop_assert_eq!(address, GATEWAY.octets());
            let protocol = frame[23];
            if protocol != 1 {
                let head = 14 + usize::from(frame[14] & 0xf) * 4;
                prop_assert_eq!(protocol, 6);
                prop_assert_eq!(&frame[head..head + 2], &[0, 22]);
                let (syn, ack) = (frame[head + 13] & 2, frame[head + 13] & 16);
                prop_assert!(syn == 0 || ack != 0);
            }
        }
    }
}
