//! The name servers that a guest can use.

use std::net::{IpAddr, Ipv4Addr};

/// Where programs look.
pub(super) const OF_PROGRAMS: &str = "/etc/resolv.conf";
/// Where systemd-resolved writes the servers that it asks itself.
pub(super) const OF_SYSTEMD_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The servers of the first of these files that names one which is not the host itself.
pub(super) fn choose<'a>(files: impl IntoIterator<Item = &'a str>) -> Vec<IpAddr> {
    files
        .into_iter()
        .map(servers)
        .find(|servers| !servers.is_empty())
        .unwrap_or_default()
}

/// The `nameserver` lines; see resolv.conf(5). A loopback address is the host's own to the host
/// only, a link-local one means something else on each interface, and guests have no IPv6.
fn servers(text: &str) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(Ok(address)) = words.next().map(str::parse::<Ipv4Addr>) else {
            continue;
        };
        let unusable = address.is_loopback() || address.is_unspecified() || address.is_link_local();
        let address = IpAddr::V4(address);
        if !unusable && !servers.contains(&address) {
            servers.push(address);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_on_loopback_is_passed_over_for_what_it_asks() {
        let stub = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n";
        let upstream = "nameserver 192.168.1.1\nnameserver 2001:db8::1\n";
        let found = choose([stub, upstream]);
        assert_eq!(found, ["192.168.1.1".parse::<IpAddr>().unwrap()]);
        assert!(choose([stub]).is_empty());
    }

    #[test]
    fn what_is_no_server_for_guests_is_left_out() {
        let text = "nameserver ::1\nnameserver fe80::1%eth0\nnameserver fe80::1\nnameserver nonsense\n\
                    nameserver\n;nameserver 10.0.0.9\nsearch nameserver\nnameserver 0.0.0.0\n\
                    \tnameserver\t10.0.0.1 \nnameserver 10.0.0.1\nnameserver 169.254.1.1";
        assert_eq!(choose([text]), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
