//! Whether a process listens on a TCP port, from the kernel's own tables.

use std::fs;

/// The state of a socket that listens, in the kernel's tables.
const LISTEN: &str = "0A";

/// Whether anybody listens on `port`, over IPv4 or IPv6.
pub(crate) fn listens(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let text = fs::read_to_string(table).unwrap_or_default();
        is_in(&text, port)
    })
}

fn is_in(table: &str, port: u16) -> bool {
    let ending = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&ending) && fields.nth(1) == Some(LISTEN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n\
        \x20  0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000\n\
        \x20  1: 0500D70A:0050 0100D70A:C001 01 00000000:00000000 00:00000000\n";

    #[test]
    fn only_listeners_count() {
        assert!(is_in(TABLE, 22));
        assert!(!is_in(TABLE, 80), "that one is connected");
        assert!(!is_in(TABLE, 2222));
        assert!(!is_in("", 22));
    }

    #[test]
    fn a_real_listener_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(port));
        drop(listener);
        assert!(!listens(port));
    }
}
