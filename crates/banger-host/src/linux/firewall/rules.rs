//! The nft table of one banger: its chains and rules, as text for nft.
//!
//! ```text
//! from a TAP ─► prerouting:  IPv6 and every source but its own are dropped; link-local, and what an
//!                            address outside @nat sends beyond the host, is rejected
//!            ─► input:       answers to the host and pings pass, all else is rejected
//!            ─► forward:     to another TAP never; elsewhere only from an address in @nat
//! to a TAP   ─► forward:     only answers, only to an address in @nat
//!            ─► postrouting: what leaves from an address in @nat has the host's address
//!            ─► vouch:       marked, so that the TAP's own program lets it through
//! from @lent ─► forward:     to a TAP of any banger, or not at all
//! ```
//!
//! A guest's packet is accepted by its address, never by the state of its connection: when its
//! element leaves @nat, open connections end at once.
//!
//! A guest learns at once that a destination is forbidden: by a TCP reset, or ICMP's
//! "administratively prohibited". Segments fit the path in both directions, by the routes at the
//! start of a connection.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// A base chain and its rules; `@` stands for the prefix of our TAPs, followed by `*`.
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) hook: &'static str,
    /// The numeric priority.
    pub(super) priority: i64,
    pub(super) rules: &'static [&'static str],
}

/// The content of a table, apart from its sets. `#` stands for [`VOUCHED`], and `bg1*` for the TAPs
/// of every banger on the host.
pub(super) const CHAINS: [Chain; 5] = [
    Chain {
        name: "prerouting",
        kind: "filter",
        hook: "prerouting",
        // Before connection tracking, so that a dropped packet makes no entry.
        priority: -300,
        rules: &[
            r#"iifname "@" meta nfproto ipv6 drop"#,
            r#"iifname "@" iifname . ip saddr != @guests drop"#,
            // After that rule, so that a rejection goes only to the owner of the source address.
            r#"iifname "@" ip daddr 169.254.0.0/16 meta l4proto tcp reject with tcp reset"#,
            r#"iifname "@" ip daddr 169.254.0.0/16 reject with icmpx type admin-prohibited"#,
            // Not in `forward`: a TAP without NAT does not forward, so no packet gets there.
            r#"iifname "@" ip saddr != @nat fib daddr type != local meta l4proto tcp reject with tcp reset"#,
            r#"iifname "@" ip saddr != @nat fib daddr type != local reject with icmpx type admin-prohibited"#,
        ],
    },
    Chain {
        name: "input",
        kind: "filter",
        hook: "input",
        priority: 0,
        rules: &[
            r#"iifname "@" ct state established,related accept"#,
            r#"iifname "@" icmp type echo-request accept"#,
            r#"iifname "@" meta l4proto tcp reject with tcp reset"#,
            r#"iifname "@" reject with icmpx type admin-prohibited"#,
        ],
    },
    Chain {
        name: "forward",
        kind: "filter",
        hook: "forward",
        priority: 0,
        rules: &[
            r#"iifname @lent oifname != "bg1*" drop"#,
            r#"iifname "@" oifname "bg1*" meta l4proto tcp reject with tcp reset"#,
            r#"iifname "@" oifname "bg1*" reject with icmpx type admin-prohibited"#,
            r#"iifname "@" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu"#,
            r#"oifname "@" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu"#,
            r#"iifname "@" ip saddr @nat accept"#,
            r#"iifname "@" drop"#,
            r#"oifname "@" ip daddr @nat ct state established,related accept"#,
            r#"oifname "@" drop"#,
        ],
    },
    Chain {
        name: "postrouting",
        kind: "nat",
        hook: "postrouting",
        priority: 100,
        rules: &[r#"ip saddr @nat oifname != "@" masquerade"#],
    },
    Chain {
        name: "vouch",
        kind: "filter",
        hook: "postrouting",
        // After all other firewalls, so that a mark of theirs does not undo ours.
        priority: 400,
        rules: &[r#"oifname "@" meta mark set meta mark | #"#],
    },
];

/// The bit of a packet's mark that is set once a table has let the packet through to a TAP.
pub(in crate::linux) const VOUCHED: u32 = 0x1000_0000;

/// The set of TAPs, each with its guest's address.
pub(super) const GUESTS: &str = "guests";
/// The set of addresses that have NAT.
pub(super) const NAT: &str = "nat";
/// The set of interfaces that forward only because of guests, and to guests only.
pub(super) const LENT: &str = "lent";

/// The remark that identifies a rule. It depends on the text of the rule, so that the rule of an
/// older banger, or one that another program changed, does not pass for the current one.
pub(super) fn remark(chain: &Chain, number: usize) -> String {
    // FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/
    let hash = chain.rules[number]
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    format!("banger {} {number} {hash:08x}", chain.name)
}

/// Writes the table, its sets, chains and rules, whatever existed of them.
pub(super) fn whole(script: &mut String, table: &str, prefix: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(script, "add table inet {table}");
    let _ = writeln!(
        script,
        "add set inet {table} {GUESTS} {{ type ifname . ipv4_addr; }}"
    );
    let _ = writeln!(script, "add set inet {table} {NAT} {{ type ipv4_addr; }}");
    let _ = writeln!(script, "add set inet {table} {LENT} {{ type ifname; }}");
    for chain in &CHAINS {
        let Chain {
            name,
            kind,
            hook,
            priority,
            rules,
        } = chain;
        let _ = writeln!(
            script,
            "add chain inet {table} {name} \
             {{ type {kind} hook {hook} priority {priority}; policy accept; }}"
        );
        let _ = writeln!(script, "flush chain inet {table} {name}");
        for (number, rule) in rules.iter().enumerate() {
            let rule = rule
                .replace("\"@\"", &format!("\"{prefix}*\""))
                .replace('#', &format!("{VOUCHED:#x}"));
            let remark = remark(chain, number);
            let _ = writeln!(
                script,
                "add rule inet {table} {name} {rule} comment \"{remark}\""
            );
        }
    }
}

/// Adds a guest; an existing one is kept.
pub(super) fn add_guest(script: &mut String, table: &str, tap: &str, address: Ipv4Addr) {
    let _ = writeln!(
        script,
        "add element inet {table} {GUESTS} {{ \"{tap}\" . {address} }}"
    );
}

/// Removes a guest, which may be missing.
pub(super) fn remove_guest(script: &mut String, table: &str, tap: &str, address: Ipv4Addr) {
    // nft before 1.0.8 has no `destroy`. An element that was just added can always be deleted.
    add_guest(script, table, tap, address);
    let _ = writeln!(
        script,
        "delete element inet {table} {GUESTS} {{ \"{tap}\" . {address} }}"
    );
}

/// Replaces the set of interfaces that are restricted to guests.
pub(super) fn set_lent<'a>(
    script: &mut String,
    table: &str,
    interfaces: impl IntoIterator<Item = &'a String>,
) {
    let _ = writeln!(script, "flush set inet {table} {LENT}");
    for interface in interfaces {
        let _ = writeln!(
            script,
            "add element inet {table} {LENT} {{ \"{interface}\" }}"
        );
    }
}

/// Adds an address with NAT; an existing one is kept.
pub(super) fn add_nat(script: &mut String, table: &str, address: Ipv4Addr) {
    let _ = writeln!(script, "add element inet {table} {NAT} {{ {address} }}");
}

/// Removes an address, which may be missing.
pub(super) fn remove_nat(script: &mut String, table: &str, address: Ipv4Addr) {
    add_nat(script, table, address);
    let _ = writeln!(script, "delete element inet {table} {NAT} {{ {address} }}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_tell_rules_apart() {
        let mut all: Vec<String> = Vec::new();
        for chain in &CHAINS {
            all.extend((0..chain.rules.len()).map(|it| remark(chain, it)));
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn the_mark_of_our_taps_is_replaced_and_the_sets_are_not() {
        let mut script = String::new();
        whole(&mut script, "banger_1", "bg1");
        assert!(!script.contains("\"@\"") && !script.contains('#'));
        assert!(script.contains(r#"iifname "bg1*" iifname . ip saddr != @guests drop"#));
        assert!(script.contains(r#"ip saddr @nat oifname != "bg1*" masquerade"#));
    }
}
