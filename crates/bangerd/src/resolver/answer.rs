//! The answer to a DNS packet: a pure function without sockets and clocks.
//!
//! | query | answer |
//! |---|---|
//! | `A` of a VM, or of a name below it | its address |
//! | another type of a known name | nothing, with the SOA (RFC 2308) |
//! | an unknown name below `vm` | NXDOMAIN, with the SOA |
//! | another zone, a zone transfer, another class | REFUSED |
//! | another opcode | NOTIMP |
//! | a newer EDNS | BADVERS |
//! | malformed | FORMERR, or none without a valid header |

use std::sync::LazyLock;

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder, BinEncodable as _};

use super::Names;

/// The TTL of an answer, in seconds. A VM can be deleted and created again at any time.
const TTL: u32 = 1;

/// The announced size of a UDP payload, in bytes; answers have at most 400.
const PAYLOAD: u16 = 1232;

/// The size limit of a UDP answer without EDNS, in bytes (RFC 1035, 4.2.1).
const CLASSIC: usize = 512;

/// The transport of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// UDP.
    Udp,
    /// TCP, without a size limit.
    Tcp,
}

/// The answer to a packet; `None` if none may be sent.
pub(super) fn answer(packet: &[u8], names: &dyn Names, transport: Transport) -> Option<Vec<u8>> {
    let header = Header::read(&mut BinDecoder::new(packet)).ok()?;
    // Never answer an answer: two servers would loop.
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

/// Parses the whole message after a valid header.
fn understand(packet: &[u8], header: &Header) -> Result<Message, ResponseCode> {
    if header.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    // The counts are checked first, because they determine allocations. A zone transfer has one
    // authority record (RFC 1995); EDNS and TSIG are additional records.
    let counts = &header.counts;
    if counts.queries != 1 || counts.answers > 0 || counts.authorities > 1 || counts.additionals > 8
    {
        return Err(ResponseCode::FormErr);
    }
    Message::from_vec(packet).map_err(|_| ResponseCode::FormErr)
}

/// An answer with a header only.
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

/// The meaning of a name below `vm`.
enum NameKind {
    /// `vm` itself.
    Zone,
    /// A VM, or a name below it.
    Address(std::net::Ipv4Addr),
    /// A VM without an address of its own.
    Known,
    /// Unknown.
    Unknown,
}

/// The meaning of a name; `None` if it is in another zone.
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

/// The zone's SOA record. Its last number is the TTL of negative answers.
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
