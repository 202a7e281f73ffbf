//! The answers, packet by packet.

mod wire;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use super::*;

struct Two;

impl Names for Two {
    fn address(&self, name: &str) -> Option<Option<Ipv4Addr>> {
        match name {
            "calm-otter" => Some(Some(Ipv4Addr::new(10, 215, 0, 2))),
            "no-address" => Some(None),
            _ => None,
        }
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask_message(message: &Message) -> Message {
    let reply = answer(&message.to_vec().unwrap(), &Two, Transport::Udp).unwrap();
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.metadata.id, 4711);
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    assert!(reply.metadata.recursion_desired);
    assert!(
        !reply.metadata.recursion_available,
        "we are no resolver for others"
    );
    reply
}

fn ask(name: &str, kind: RecordType) -> Message {
    let reply = ask_message(&query(name, kind));
    assert_eq!(
        reply.queries,
        query(name, kind).queries,
        "the question comes back as asked"
    );
    reply
}

fn addresses(reply: &Message) -> Vec<Ipv4Addr> {
    reply
        .answers
        .iter()
        .map(|record| {
            assert_eq!(record.ttl, 1);
            let RData::A(address) = &record.data else {
                panic!("{record:?}")
            };
            address.0
        })
        .collect()
}

fn assert_empty_with_soa(reply: &Message, code: ResponseCode) {
    assert_eq!(reply.metadata.response_code, code);
    assert!(reply.metadata.authoritative);
    assert!(reply.answers.is_empty());
    assert_eq!(reply.authorities.len(), 1);
    assert_eq!(reply.authorities[0].name.to_ascii(), "vm.");
    assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
}

fn assert_refused(reply: &Message) {
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    assert!(!reply.metadata.authoritative);
    assert!(reply.answers.is_empty() && reply.authorities.is_empty());
}

#[test]
fn a_vm_has_its_address_in_any_case_and_so_have_the_names_below_it() {
    for name in [
        "calm-otter.vm.",
        "CALM-Otter.Vm.",
        "www.calm-otter.vm.",
        "a.b.c.calm-otter.VM.",
    ] {
        let reply = ask(name, RecordType::A);
        assert_eq!(
            reply.metadata.response_code,
            ResponseCode::NoError,
            "{name}"
        );
        assert!(reply.metadata.authoritative, "{name}");
        assert_eq!(addresses(&reply), [Ipv4Addr::new(10, 215, 0, 2)], "{name}");
    }
    assert_eq!(addresses(&ask("calm-otter.vm.", RecordType::ANY)).len(), 1);
}

#[test]
fn another_type_of_a_known_name_is_empty() {
    for kind in [
        RecordType::AAAA,
        RecordType::TXT,
        RecordType::MX,
        RecordType::HTTPS,
    ] {
        assert_empty_with_soa(&ask("calm-otter.vm.", kind), ResponseCode::NoError);
    }
}

#[test]
fn a_vm_without_an_address_of_its_own_is_known_and_empty() {
    assert_empty_with_soa(&ask("no-address.vm.", RecordType::A), ResponseCode::NoError);
}

#[test]
fn an_unknown_name_does_not_exist() {
    for name in [
        "nobody.vm.",
        "calm-otter.nobody.vm.",
        "xn--nxasmq6b.vm.",
        "calm\\.otter.vm.",
    ] {
        for kind in [RecordType::A, RecordType::AAAA, RecordType::ANY] {
            assert_empty_with_soa(&ask(name, kind), ResponseCode::NXDomain);
        }
    }
    // A label may contain any bytes (RFC 2181, 11).
    let mut message = query("vm.", RecordType::A);
    let labels: [&[u8]; 2] = [b"\xff\0.", b"vm"];
    message.queries[0].set_name(Name::from_labels(labels).unwrap());
    assert_empty_with_soa(&ask_message(&message), ResponseCode::NXDomain);
}

#[test]
fn the_zone_has_a_soa_and_nothing_else() {
    let reply = ask("vm.", RecordType::SOA);
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].record_type(), RecordType::SOA);
    assert_empty_with_soa(&ask("vm.", RecordType::A), ResponseCode::NoError);
    assert_empty_with_soa(&ask("vm.", RecordType::NS), ResponseCode::NoError);
}

#[test]
fn another_zone_is_refused() {
    for name in [
        "example.com.",
        "calm-otter.",
        ".",
        "vm.example.com.",
        "calm-otter.vm.com.",
    ] {
        assert_refused(&ask(name, RecordType::A));
    }
}

#[test]
fn a_zone_transfer_is_refused() {
    assert_refused(&ask("vm.", RecordType::AXFR));
    assert_refused(&ask("vm.", RecordType::IXFR));
    let mut message = query("calm-otter.vm.", RecordType::A);
    message.queries[0].set_query_class(DNSClass::CH);
    assert_refused(&ask_message(&message));
}

#[test]
fn edns_is_answered_and_a_newer_one_rejected() {
    let mut message = query("calm-otter.vm.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    message.set_edns(edns.clone());
    let reply = ask_message(&message);
    assert_eq!(addresses(&reply).len(), 1);
    assert_eq!(reply.edns.as_ref().unwrap().max_payload(), 1232);
    assert!(ask("calm-otter.vm.", RecordType::A).edns.is_none());

    message.set_edns(edns.set_version(1).clone());
    let reply = ask_message(&message);
    // The two codes share a number; here it is that of EDNS.
    assert_eq!(
        u16::from(reply.metadata.response_code),
        u16::from(ResponseCode::BADVERS)
    );
    assert!(reply.answers.is_empty());
}

#[test]
fn an_update_is_not_for_us() {
    let mut message = query("vm.", RecordType::SOA);
    message.metadata.op_code = OpCode::Update;
    assert_eq!(
        ask_message(&message).metadata.response_code,
        ResponseCode::NotImp
    );
}

#[test]
fn an_answer_is_never_answered() {
    let mut message = query("calm-otter.vm.", RecordType::A);
    message.metadata.message_type = MessageType::Response;
    assert_eq!(
        answer(&message.to_vec().unwrap(), &Two, Transport::Udp),
        None
    );
}

#[test]
fn unreadable_input_is_reported_or_dropped() {
    let code = |packet: &[u8]| {
        let reply = answer(packet, &Two, Transport::Udp)?;
        Some(Message::from_vec(&reply).unwrap().metadata.response_code)
    };
    assert_eq!(code(b""), None);
    assert_eq!(code(&[0; 11]), None);
    assert_eq!(code(&[0; 12]), Some(ResponseCode::FormErr), "no question");
    let whole = query("calm-otter.vm.", RecordType::A).to_vec().unwrap();
    for end in 12..whole.len() {
        assert_eq!(
            code(&whole[..end]),
            Some(ResponseCode::FormErr),
            "cut at {end}"
        );
    }
    // A name that points to itself (RFC 1035, 4.1.4).
    let mut looped = whole[..12].to_vec();
    looped.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(code(&looped), Some(ResponseCode::FormErr));
    // Counts of records that are missing.
    for at in [4, 6, 8, 10] {
        let mut promising = whole.clone();
        promising[at] = 0xff;
        promising[at + 1] = 0xff;
        assert_eq!(
            code(&promising),
            Some(ResponseCode::FormErr),
            "count at {at}"
        );
    }
}

#[test]
fn the_longest_question_fits_a_datagram() {
    let label = "x".repeat(60);
    let name = format!("{label}.{label}.{label}.{label}.vm.");
    let mut message = query(&name, RecordType::A);
    message.set_edns(Edns::new());
    let reply = answer(&message.to_vec().unwrap(), &Two, Transport::Udp).unwrap();
    assert!(reply.len() <= 512, "{}", reply.len());
    assert!(!Message::from_vec(&reply).unwrap().metadata.truncation);
}

proptest::proptest! {
    #[test]
    fn any_packet_is_answered_or_dropped(packet in proptest::collection::vec(0_u8.., 0..600)) {
        let _ = answer(&packet, &Two, Transport::Udp);
    }

    #[test]
    fn any_damage_to_a_question_is_answered_or_dropped(
        changes in proptest::collection::vec((0_usize..60, 0_u8..), 1..8),
        cut in 0_usize..80,
    ) {
        let mut message = query("www.calm-otter.vm.", RecordType::A);
        message.set_edns(Edns::new());
        let mut packet = message.to_vec().unwrap();
        for (at, byte) in changes {
            let at = at % packet.len();
            packet[at] = byte;
        }
        packet.truncate(cut);
        if let Some(reply) = answer(&packet, &Two, Transport::Udp) {
            proptest::prop_assert!(reply.len() <= 512);
            proptest::prop_assert_eq!(&reply[..2], &packet[..2]);
        }
    }
}
