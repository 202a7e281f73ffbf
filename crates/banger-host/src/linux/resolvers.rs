//! The name servers and search domains that a guest can use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Resolvers;

/// The file that programs read, and the files where systemd-resolved and NetworkManager write the
/// upstream servers while programs ask a stub on loopback.
pub(super) const FILES: [&str; 3] = [
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
];

/// The address of systemd-resolved's own stub.
const STUB_OF_SYSTEMD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// The maximum number of search domains of a guest.
const MOST_DOMAINS: usize = 16;

/// The servers of the first file, in the order of [`FILES`], that names one which a guest can
/// reach. The firewall keeps guests from the host's own addresses.
pub(super) fn choose(texts: &[String], is_own: impl Fn(Ipv4Addr) -> bool) -> Resolvers {
    let [of_programs, rest @ ..] = texts else {
        return Resolvers::default();
    };
    let named = servers(of_programs);
    let mut files = vec![of_programs];
    files.extend(rest);
    // Another stub on 127.0.0.1 may have servers that systemd-resolved does not know.
    if !named.is_empty() && !named.contains(&STUB_OF_SYSTEMD) {
        files[1..].reverse();
    }
    let reaches = |it: &Ipv4Addr| {
        !(it.is_loopback() || it.is_unspecified() || it.is_link_local() || is_own(*it))
    };
    let mut found = Resolvers {
        out_of_reach: of(named.into_iter().filter(|it| !reaches(it))),
        ..Resolvers::default()
    };
    for text in files {
        let usable = of(servers(text).into_iter().filter(reaches));
        if !usable.is_empty() {
            found.servers = usable;
            found.search = domains(text);
            break;
        }
    }
    if found.servers.is_empty() {
        let others = servers_by_ipv6(of_programs).into_iter();
        found.out_of_reach.extend(others.map(IpAddr::V6));
    }
    let of_programs = domains(of_programs);
    if !of_programs.is_empty() {
        found.search = of_programs;
    }
    found
}

fn of(servers: impl Iterator<Item = Ipv4Addr>) -> Vec<IpAddr> {
    servers.map(IpAddr::V4).collect()
}

/// The words of each line, without comments; see resolv.conf(5).
fn lines(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?, words.collect()))
    })
}

/// The IPv4 servers without duplicates: guests have no IPv6.
fn servers(text: &str) -> Vec<Ipv4Addr> {
    values_of_nameserver(text, |it| it.parse().ok())
}

/// The IPv6 servers without duplicates, and without the interfaces of link-local ones (`%eth0`).
fn servers_by_ipv6(text: &str) -> Vec<Ipv6Addr> {
    values_of_nameserver(text, |it| it.split('%').next()?.parse().ok())
}

fn values_of_nameserver<T: PartialEq>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut servers = Vec::new();
    for (word, values) in lines(text) {
        if word == "nameserver"
            && let Some(address) = values.first().and_then(|it| parse(it))
            && !servers.contains(&address)
        {
            servers.push(address);
        }
    }
    servers
}

/// The search domains. The last line that has any counts.
fn domains(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, values) in lines(text) {
        let values = match word {
            "search" => values.as_slice(),
            "domain" => &values[..values.len().min(1)],
            _ => continue,
        };
        found = values
            .iter()
            .map(|it| it.trim_end_matches('.'))
            .filter(|it| is_domain(it))
            .take(MOST_DOMAINS)
            .map(str::to_owned)
            .collect();
    }
    found
}

/// Whether this is a domain name that a guest may get.
fn is_domain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: [&str; 3]) -> Resolvers {
        let own: Ipv4Addr = "192.168.1.2".parse().unwrap();
        choose(&files.map(str::to_owned), |it| it == own)
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    const STUB: &str = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n";
    const CACHE: &str = "nameserver 127.0.0.1\n";
    const UPSTREAM: &str = "nameserver 192.168.1.1\nnameserver 2001:db8::1\n";

    #[test]
    fn servers_by_ipv6_alone_are_out_of_reach_and_not_missing() {
        let none = chosen(["nameserver 2001:db8::1\nnameserver fe80::1%eth0\n", "", ""]);
        assert!(none.servers.is_empty());
        assert_eq!(none.out_of_reach, addresses(&["2001:db8::1", "fe80::1"]));
    }

    #[test]
    fn a_stub_on_loopback_is_passed_over_for_what_it_asks() {
        assert_eq!(
            chosen([STUB, UPSTREAM, ""]).servers,
            addresses(&["192.168.1.1"])
        );
        assert_eq!(
            chosen([CACHE, "", UPSTREAM]).servers,
            addresses(&["192.168.1.1"])
        );
        let none = chosen([STUB, "", ""]);
        assert!(none.servers.is_empty());
        assert_eq!(none.out_of_reach, addresses(&["127.0.0.53"]));
    }

    #[test]
    fn each_stub_has_its_own_upstream_servers() {
        let other = "nameserver 192.168.1.9\n";
        assert_eq!(
            chosen([STUB, UPSTREAM, other]).servers,
            addresses(&["192.168.1.1"])
        );
        assert_eq!(
            chosen([CACHE, other, UPSTREAM]).servers,
            addresses(&["192.168.1.1"])
        );
    }

    #[test]
    fn an_address_of_the_hosts_own_is_out_of_reach() {
        let own = "nameserver 192.168.1.2\n";
        let found = chosen([own, "", UPSTREAM]);
        assert_eq!(found.servers, addresses(&["192.168.1.1"]));
        assert_eq!(found.out_of_reach, addresses(&["192.168.1.2"]));
        let both = chosen([&format!("{own}{UPSTREAM}"), "", ""]);
        assert_eq!(both.servers, addresses(&["192.168.1.1"]));
        assert_eq!(both.out_of_reach, addresses(&["192.168.1.2"]));
    }

    #[test]
    fn what_is_no_server_for_guests_is_left_out() {
        let text = "nameserver ::1\nnameserver fe80::1%eth0\nnameserver fe80::1\nnameserver nonsense\n\
                    nameserver\n;nameserver 10.0.0.9\nsearch nameserver\nnameserver 0.0.0.0\n\
                    \tnameserver\t10.0.0.1 \nnameserver 10.0.0.1\nnameserver 169.254.1.1";
        assert_eq!(chosen([text, "", ""]).servers, addresses(&["10.0.0.1"]));
    }

    #[test]
    fn the_last_search_line_counts_and_what_is_no_domain_does_not() {
        let search = |text: &str| chosen([text, "", ""]).search;
        assert_eq!(
            search("search old\nsearch office.example lan. . a\u{202e}b\n"),
            ["office.example", "lan"]
        );
        assert_eq!(search("domain office.example more\n"), ["office.example"]);
        assert!(search("nameserver 10.0.0.1\n#search lan\n").is_empty());
        let behind = chosen([STUB, "nameserver 192.168.1.1\nsearch lan\n", ""]);
        assert_eq!(behind.search, ["lan"], "what the stub leaves out");
    }
}
