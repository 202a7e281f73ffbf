//! The listing of a table, from `nft -j list table`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::rules::{CHAINS, Chain, GUESTS, LENT, NAT, remark};

/// The content of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Whether it has all its sets and chains, and exactly our rules in each.
    pub(super) is_whole: bool,
    /// Each TAP and the address that it may use.
    pub(super) guests: BTreeSet<(String, Ipv4Addr)>,
    /// The addresses that have NAT.
    pub(super) nat: BTreeSet<Ipv4Addr>,
    /// The interfaces that forward for guests only.
    pub(super) lent: BTreeSet<String>,
}

/// Parses the output of nft; `None` if it is not a listing.
pub(super) fn read(json: &[u8]) -> Option<Listing> {
    let document: Value = serde_json::from_slice(json).ok()?;
    let objects = document.get("nftables")?.as_array()?;
    let of_kind = |kind: &'static str| objects.iter().filter_map(move |it| it.get(kind));

    let mut listing = Listing::default();
    let mut sets = 0;
    for set in of_kind("set") {
        let elements = set
            .get("elem")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        match set.get("name").and_then(Value::as_str) {
            Some(GUESTS) => listing.guests = elements.filter_map(read_guest).collect(),
            Some(NAT) => listing.nat = elements.filter_map(read_address).collect(),
            Some(LENT) => {
                let names = elements.filter_map(Value::as_str);
                listing.lent = names.map(str::to_owned).collect();
            }
            _ => continue,
        }
        sets += 1;
    }
    let is_awake = of_kind("table").all(|it| it.get("flags").is_none());
    let chains: Vec<&Value> = of_kind("chain").collect();
    let rules: Vec<&Value> = of_kind("rule").collect();
    listing.is_whole = is_awake
        && sets == 3
        && chains.len() == CHAINS.len()
        && CHAINS
            .iter()
            .all(|chain| has_chain(&chains, chain) && has_rules(&rules, chain));
    Some(listing)
}

/// `{"concat": ["tap0", "10.0.0.2"]}`
fn read_guest(element: &Value) -> Option<(String, Ipv4Addr)> {
    let parts = element.get("concat")?.as_array()?;
    let [tap, address] = parts.as_slice() else {
        return None;
    };
    Some((tap.as_str()?.to_owned(), read_address(address)?))
}

fn read_address(element: &Value) -> Option<Ipv4Addr> {
    element.as_str()?.parse().ok()
}

fn has_chain(chains: &[&Value], wanted: &Chain) -> bool {
    let is = |chain: &Value, key: &str, value: &str| {
        chain.get(key).and_then(Value::as_str) == Some(value)
    };
    chains.iter().any(|chain| {
        is(chain, "name", wanted.name)
            && is(chain, "type", wanted.kind)
            && is(chain, "hook", wanted.hook)
            && is(chain, "policy", "accept")
            && chain.get("prio").and_then(Value::as_i64) == Some(wanted.priority)
    })
}

/// Whether these are exactly our rules, in our order.
fn has_rules(rules: &[&Value], wanted: &Chain) -> bool {
    let remarks = rules
        .iter()
        .filter(|rule| rule.get("chain").and_then(Value::as_str) == Some(wanted.name))
        .map(|rule| {
            rule.get("comment")
                .and_then(Value::as_str)
                .unwrap_or_default()
        });
    remarks.eq((0..wanted.rules.len()).map(|number| remark(wanted, number)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        let mut objects = vec![
            json!({"metainfo": {"json_schema_version": 1}}),
            json!({"table": {"family": "inet", "name": "banger_1", "handle": 1}}),
            json!({"set": {"name": "guests", "elem": [{"concat": ["bg1a", "10.0.0.2"]}]}}),
            json!({"set": {"name": "nat", "elem": ["10.0.0.2"]}}),
            json!({"set": {"name": "lent", "elem": ["eth0"]}}),
        ];
        for chain in &CHAINS {
            objects.push(json!({"chain": {"name": chain.name, "type": chain.kind,
                "hook": chain.hook, "prio": chain.priority, "policy": "accept"}}));
            for number in 0..chain.rules.len() {
                objects
                    .push(json!({"rule": {"chain": chain.name, "comment": remark(chain, number)}}));
            }
        }
        json!({ "nftables": objects })
    }

    fn read_value(document: &Value) -> Option<Listing> {
        read(document.to_string().as_bytes())
    }

    #[test]
    fn a_whole_table_is_read() {
        let listing = read_value(&document()).unwrap();
        assert!(listing.is_whole);
        assert_eq!(
            listing.guests.first().unwrap(),
            &("bg1a".to_owned(), [10, 0, 0, 2].into())
        );
        assert_eq!(listing.nat.first().unwrap(), &Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(listing.lent.first().unwrap(), "eth0");
    }

    #[test]
    fn without_any_one_of_its_parts_it_is_not_whole() {
        let whole = document();
        // The first two entries are nft's own version and the table itself.
        for part in 2..whole["nftables"].as_array().unwrap().len() {
            let mut less = whole.clone();
            let gone = less["nftables"].as_array_mut().unwrap().remove(part);
            assert!(!read_value(&less).unwrap().is_whole, "without {gone}");
        }
    }

    #[test]
    fn a_rule_that_is_not_ours_or_in_another_place_is_noticed() {
        let mut more = document();
        more["nftables"]
            .as_array_mut()
            .unwrap()
            .push(json!({"rule": {"chain": "forward"}}));
        assert!(!read_value(&more).unwrap().is_whole);
        let mut dormant = document();
        dormant["nftables"][1]["table"]["flags"] = json!(["dormant"]);
        assert!(!read_value(&dormant).unwrap().is_whole);
        let mut swapped = document();
        swapped["nftables"].as_array_mut().unwrap().swap(6, 7);
        assert!(!read_value(&swapped).unwrap().is_whole);
    }

    #[test]
    fn what_is_no_listing_is_not_read() {
        assert_eq!(read(b"nonsense"), None);
        assert_eq!(read(b"{}"), None);
    }
}
