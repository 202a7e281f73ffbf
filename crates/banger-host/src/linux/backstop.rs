//! The backstop, which confines a guest while the nft table is missing.
//!
//! All rules may be flushed while no daemon runs to restore them. Two programs on the TAP itself,
//! in classic BPF, are not affected by nft:
//!
//! ```text
//! from the guest ─► ingress: ARP, and IPv4 from the guest's own address; nothing else
//! to the guest   ─► egress:  packets that the table has marked with a bit;
//!                            of all else only what the host itself sends from its address on the
//!                            TAP: pings, and TCP but for answers to a connection of the guest's
//! ```
//!
//! So without the table no guest can connect to the host, another guest or the outside, or use
//! another address than its own, while the host's connections to the guest still work. A TAP
//! without NAT does not forward either (`net.ipv4.conf.<tap>.forwarding`).

use std::io;
use std::net::Ipv4Addr;

use rtnetlink::Handle;
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload, Nla as _,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};

use rustix::io::Errno;

use super::firewall::VOUCHED;
use super::netlink;

/// An instruction of classic BPF: its code, the jumps if true and if false, and its operand.
type Instruction = (u16, u8, u8, u32);

/// Loads of 1, 2 and 4 bytes at an offset in the frame; see `linux/bpf_common.h`.
const BYTE: u16 = 0x30;
const HALF: u16 = 0x28;
const WORD: u16 = 0x20;
/// Loads of a byte at an offset after the IP header, and of that header's length.
const BYTE_AFTER: u16 = 0x50;
const HEADER_LENGTH: u16 = 0xb1;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
const IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Verdicts of `linux/pkt_cls.h`.
const PASS: u32 = 0;
const DROP: u32 = 2;

/// Offsets in an Ethernet frame with an IPv4 packet.
const ETHERTYPE: u32 = 12;
const IP: u32 = 14;
const FRAGMENT: u32 = IP + 6;
const PROTOCOL: u32 = IP + 9;
const SOURCE: u32 = IP + 12;
const TCP_FLAGS: u32 = IP + 13;
/// The packet's mark, by `SKF_AD_OFF` and `SKF_AD_MARK` of `linux/filter.h`.
const MARK: u32 = 0xffff_f000 + 20;

const IPV4: u32 = 0x0800;
const ARP: u32 = 0x0806;
const ICMP: u32 = 1;
const TCP: u32 = 6;
/// The flags SYN and ACK together: the answer to a connection that the other side opens.
const SYN_ACK: u32 = 0x12;

/// The bits of the fragment field that mark a later fragment.
const LATER_FRAGMENT: u32 = 0x1fff;

fn from_guest(guest: Ipv4Addr) -> Vec<Instruction> {
    vec![
        (HALF, 0, 0, ETHERTYPE),
        (IF_EQUAL, 4, 0, ARP),
        (IF_EQUAL, 0, 2, IPV4),
        (WORD, 0, 0, SOURCE),
        (IF_EQUAL, 1, 0, u32::from(guest)),
        (RETURN, 0, 0, DROP),
        (RETURN, 0, 0, PASS),
    ]
}

fn to_guest(host: Ipv4Addr) -> Vec<Instruction> {
    vec![
        (HALF, 0, 0, ETHERTYPE),
        (IF_EQUAL, 0, 14, IPV4),
        (WORD, 0, 0, MARK),
        (IF_SET, 12, 0, VOUCHED),
        (WORD, 0, 0, SOURCE),
        (IF_EQUAL, 0, 9, u32::from(host)),
        (BYTE, 0, 0, PROTOCOL),
        (IF_EQUAL, 8, 0, ICMP),
        (IF_EQUAL, 0, 6, TCP),
        (HALF, 0, 0, FRAGMENT),
        (IF_SET, 4, 0, LATER_FRAGMENT),
        (HEADER_LENGTH, 0, 0, IP),
        (BYTE_AFTER, 0, 0, TCP_FLAGS),
        (AND, 0, 0, SYN_ACK),
        (IF_EQUAL, 0, 1, SYN_ACK),
        (RETURN, 0, 0, DROP),
        (RETURN, 0, 0, PASS),
    ]
}

/// The direction of a packet on a TAP, as seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// The program for each direction, in the encoding of the kernel.
pub(super) fn programs(host: Ipv4Addr, guest: Ipv4Addr) -> [(Direction, Vec<u8>); 2] {
    let bytes = |program: Vec<Instruction>| {
        let mut bytes = Vec::with_capacity(program.len() * 8);
        for (code, then, otherwise, value) in program {
            bytes.extend(code.to_ne_bytes());
            bytes.extend([then, otherwise]);
            bytes.extend(value.to_ne_bytes());
        }
        bytes
    };
    [
        (Direction::In, bytes(from_guest(guest))),
        (Direction::Out, bytes(to_guest(host))),
    ]
}

// TCA_BPF_OPS_LEN and TCA_BPF_OPS of `linux/pkt_cls.h`.
const LENGTH: u16 = 4;
const INSTRUCTIONS: u16 = 5;

/// The priority of banger's filter in each direction.
const PRIORITY: u16 = 1;

/// ETH_P_ALL, in network order.
const EVERY_PROTOCOL: u16 = 3_u16.to_be();

impl Direction {
    fn parent(self) -> TcHandle {
        TcHandle {
            major: u16::MAX,
            minor: match self {
                Self::In => TcHandle::MIN_INGRESS,
                Self::Out => TcHandle::MIN_EGRESS,
            },
        }
    }
}

fn place(index: u32, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = parent;
    message
}

/// The first program in each direction, if it looks like one of banger's.
pub(super) async fn standing(handle: &Handle, index: u32) -> io::Result<Vec<(Direction, Vec<u8>)>> {
    let mut found = Vec::new();
    for way in [Direction::In, Direction::Out] {
        let wanted = RouteNetlinkMessage::GetTrafficFilter(place(index, way.parent()));
        let mut request = NetlinkMessage::from(wanted);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        for answer in ask(handle, request).await? {
            if let RouteNetlinkMessage::NewTrafficFilter(message) = answer
                && message.header.info >> 16 == u32::from(PRIORITY)
                && let Some(program) = instructions(&message)
            {
                found.push((way, program));
            }
        }
    }
    Ok(found)
}

fn instructions(message: &TcMessage) -> Option<Vec<u8>> {
    let options = message.attributes.iter().find_map(|it| match it {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    options.iter().find_map(|it| match it {
        TcOption::Bpf(TcFilterBpfOption::Other(nla)) if nla.kind() == INSTRUCTIONS => {
            let mut bytes = vec![0; nla.value_len()];
            nla.emit_value(&mut bytes);
            Some(bytes)
        }
        _ => None,
    })
}

/// Whether the error of [`put`] means that this kernel has no such programs.
pub(super) fn is_lacking(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    matches!(error.kind(), Io::NotFound | Io::Unsupported)
        || error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error())
}

/// Attaches both programs; another filter at their priority is replaced.
///
/// # Errors
/// [`is_lacking`] recognizes a kernel without such programs.
pub(super) async fn put(
    handle: &Handle,
    index: u32,
    host: Ipv4Addr,
    guest: Ipv4Addr,
) -> io::Result<()> {
    let mut queue = place(index, TcHandle::CLSACT);
    queue.header.handle = TcHandle {
        major: u16::MAX,
        minor: 0,
    };
    queue
        .attributes
        .push(TcAttribute::Kind("clsact".to_owned()));
    match change(
        handle,
        RouteNetlinkMessage::NewQueueDiscipline(queue),
        NLM_F_CREATE | NLM_F_EXCL,
    )
    .await
    {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let standing = standing(handle, index).await?;
    for (way, program) in programs(host, guest) {
        if standing.iter().any(|it| it.0 == way && it.1 == program) {
            continue;
        }
        let mut message = place(index, way.parent());
        message.header.info = u32::from(PRIORITY) << 16 | u32::from(EVERY_PROTOCOL);
        let gone = RouteNetlinkMessage::DelTrafficFilter(message.clone());
        match change(handle, gone, 0).await {
            Err(error)
                if netlink::is_absent(&error) || error.kind() == io::ErrorKind::InvalidInput => {}
            other => other?,
        }
        message.header.handle = TcHandle { major: 0, minor: 1 };
        message.attributes = vec![
            TcAttribute::Kind("bpf".to_owned()),
            TcAttribute::Options(options(program)),
        ];
        let filter = RouteNetlinkMessage::NewTrafficFilter(message);
        change(handle, filter, NLM_F_CREATE | NLM_F_EXCL).await?;
    }
    Ok(())
}

fn options(program: Vec<u8>) -> Vec<TcOption> {
    let count = u16::try_from(program.len() / 8).unwrap_or(u16::MAX);
    let other = |kind, bytes| TcOption::Bpf(TcFilterBpfOption::Other(DefaultNla::new(kind, bytes)));
    vec![
        other(LENGTH, count.to_ne_bytes().to_vec()),
        other(INSTRUCTIONS, program),
        // The return value of the program is the verdict.
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ]
}

async fn change(handle: &Handle, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    ask(handle, request).await.map(drop)
}

/// Sends one request, and returns the answers.
async fn ask(
    handle: &Handle,
    request: NetlinkMessage<RouteNetlinkMessage>,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut answers = Vec::new();
    let mut handle = handle.clone();
    let mut response = handle.request(request).map_err(netlink::cause)?;
    while let Some(answer) = futures_util::StreamExt::next(&mut response).await {
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => answers.push(message),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            _ => {}
        }
    }
    Ok(answers)
}
