//! What a DNS packet is answered with. Pure: no sockets, no clock.
//!
//! | asked | answered |
//! |---|---|
//! | `A` of a VM, or of a name below it | its address |
//! | another type of a known name | nothing, with the SOA (RFC 2308) |
//! | an unknown name below `vm` | NXDOMAIN, with the SOA |
//! | another zone, a zone transfer, another class | REFUSED |
//! | another opcode | NOTIMP |
//! | a newer EDNS | BADVERS |
//! | what cannot be read | FORMERR, or silence where there is no header |

use std::sync::LazyLock;

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder, BinEncodable as _};

use super::Names;

/// How long an answer may be kept, in seconds. A VM can be deleted and made anew at any time.
const TTL: u32 = 1;

/// The largest UDP answer that is announced, in bytes; ours have at most 400.
const PAYLOAD: u16 = 1232;

/// What a classic UDP answer holds, in bytes (RFC 1035, 4.2.1).
const CLASSIC: usize = 512;

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// In a datagram.
    Udp,
    /// On a connection, where length is no matter.
    Tcp,
}

/// The answer to a packet, or nothing where silence is right.
pub(super) fn answer(packet: &[u8], names: &dyn Names, transport: Transport) -> Option<Vec<u8>> {
    let header = Header::read(&mut BinDecoder::new(packet)).ok()?;
    // Two servers that answer each other's answers would never end.
    if header.metadata.message_type == MessageType::Response {
        return None;
    }
    let reply = match understand(packet, &header) {
        Ok(asked) => reply(&asked, names),
        Err(code) => bare(&header.metadata, code),
    };
    let bytes = reply.to_bytes().ok()?;
    if transport == Transport::Udp && bytes.len() > CLASSIC {
        return reply.truncate().to_bytes().ok();
    }
    Some(bytes)
}

/// The whole message, once its header makes sense.
fn understand(packet: &[u8], header: &Header) -> Result<Message, ResponseCode> {
    if header.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    // The counts are looked at first: memory is set aside by them. A zone transfer brings one
    // authority (RFC 1995), and EDNS and TSIG are additionals.
    let counts = &header.counts;
    if counts.queries != 1 || counts.answers > 0 || counts.authorities > 1 || counts.additionals > 8
    {
        return Err(ResponseCode::FormErr);
    }
    Message::from_vec(packet).map_err(|_| ResponseCode::FormErr)
}

/// An answer that repeats nothing but the header.
fn bare(asked: &Metadata, code: ResponseCode) -> Message {
    let mut reply = Message::response(asked.id, asked.op_code);
    reply.metadata.recursion_desired = asked.recursion_desired;
    reply.metadata.response_code = code;
    reply
}

fn reply(asked: &Message, names: &dyn Names) -> Message {
    let mut reply = bare(&asked.metadata, ResponseCode::NoError);
    if let Some(edns) = &asked.edns {
        let mut ours = Edns::new();
        ours.set_max_payload(PAYLOAD);
        reply.set_edns(ours);
        if edns.version() > 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
            return reply;
        }
    }
    let Some(question) = asked.queries.first() else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return reply;
    };
    reply.add_query(question.clone());
    let transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
    let ours = question.query_class() == DNSClass::IN && !transfer;
    let Some(standing) = stand(question.name(), names).filter(|_| ours) else {
        reply.metadata.response_code = ResponseCode::Refused;
        return reply;
    };
    reply.metadata.authoritative = true;
    let wants =
        |kind| matches!(question.query_type(), RecordType::ANY) || question.query_type() == kind;
    match standing {
        NameKind::Address(address) if wants(RecordType::A) => {
            let name = question.name().clone();
            reply.add_answer(Record::from_rdata(name, TTL, RData::A(A(address))));
        }
        NameKind::Zone if wants(RecordType::SOA) => {
            if let Some(soa) = soa() {
                reply.add_answer(soa);
            }
        }
        NameKind::Unknown => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authorities(soa());
        }
        NameKind::Address(_) | NameKind::Known | NameKind::Zone => {
            reply.add_authorities(soa());
        }
    }
    reply
}

/// What a name below `vm` is.
enum NameKind {
    /// `vm` itself.
    Zone,
    /// A VM, or a name below it.
    Address(std::net::Ipv4Addr),
    /// A VM without an address of its own.
    Known,
    /// Nobody.
    Unknown,
}

/// What the name is to us, or nothing where it lies in another zone.
fn stand(name: &Name, names: &dyn Names) -> Option<NameKind> {
    let mut labels = name.iter().rev();
    if !labels.next()?.eq_ignore_ascii_case(b"vm") {
        return None;
    }
    let Some(label) = labels.next() else {
        return Some(NameKind::Zone);
    };
    let label = label.to_ascii_lowercase();
    let known = str::from_utf8(&label)
        .ok()
        .and_then(|label| names.address(label));
    Some(match known {
        Some(Some(address)) => NameKind::Address(address),
        Some(None) => NameKind::Known,
        None => NameKind::Unknown,
    })
}

/// The zone's own record. Its last number says how long "there is none" may be kept.
fn soa() -> Option<Record> {
    static SOA_RECORD: LazyLock<Option<Record>> = LazyLock::new(make_soa);
    SOA_RECORD.clone()
}

fn make_soa() -> Option<Record> {
    let zone = Name::from_ascii("vm.").ok()?;
    let server = Name::from_ascii("ns.vm.").ok()?;
    let mailbox = Name::from_ascii("nobody.vm.").ok()?;
    let soa = SOA::new(server, mailbox, 1, 3600, 600, 86_400, TTL);
    Some(Record::from_rdata(zone, TTL, RData::SOA(soa)))
}
