//! A DNS query for the address of a name (RFC 1035).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use banger_api::{Code, Error, Result};

/// Timeout for an answer of the daemon, which runs on this host.
const PATIENCE: Duration = Duration::from_secs(5);
/// The length of a message's header, in bytes.
const HEADER: usize = 12;

/// The first address of this name, if it has one.
///
/// # Errors
/// No answer arrives in time.
pub(super) fn ask(server: SocketAddr, name: &str) -> Result<Option<Ipv4Addr>> {
    let answer = exchange(server, &question(name)).map_err(|cause| {
        Error::new(Code::Host, format!("ask {server} for `{name}`")).cause(cause.to_string())
    })?;
    Ok(address(&answer, question(name).len()))
}

fn exchange(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((server.ip(), 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(question)?;
    let mut answer = vec![0; 512];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// A query of type A and class IN, without recursion.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0x62, 0x67, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// The first answer record, after the question: a name or a pointer to it, type, class, time to
/// live, length, and four bytes of address.
fn address(answer: &[u8], question: usize) -> Option<Ipv4Addr> {
    let count = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    if count == 0 {
        return None;
    }
    let record = answer.get(question..)?;
    let name = if record.first()? & 0xc0 == 0xc0 {
        2
    } else {
        question - HEADER - 4
    };
    let fixed = record.get(name..name + 10)?;
    if fixed[..4] != [0, 1, 0, 1] || fixed[8..] != [0, 4] {
        return None;
    }
    let octets: [u8; 4] = record.get(name + 10..name + 14)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_behind_a_pointer_and_behind_a_whole_name() {
        let asked = question("web.vm");
        let fixed = [0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 215, 0, 2];
        for name in [&[0xc0, 12][..], &asked[HEADER..asked.len() - 4]] {
            let mut answer = asked.clone();
            answer[7] = 1;
            answer.extend(name);
            answer.extend(fixed);
            let found = address(&answer, asked.len());
            assert_eq!(found, Some(Ipv4Addr::new(10, 215, 0, 2)));
            assert_eq!(address(&answer[..answer.len() - 1], asked.len()), None);
        }
        assert_eq!(address(&asked, asked.len()), None, "no answer");
        assert_eq!(address(&[], asked.len()), None);
    }
}
