//! Other firewalls that drop packets of guests.
//!
//! An accept in our table is not enough if another base chain drops: every one must accept. So each
//! chain on the forward hook is checked, and the hint is a command of the tool that the chain
//! belongs to.

use serde_json::Value;

use super::{doubtful, good, in_one_line};
use crate::command::{Command, PROMPTLY};
use crate::linux::firewall::nft;
use crate::{Finding, Kind};

/// The prefix of the tables of every banger.
const OURS: &str = "banger_";

pub(super) fn probe(tap_prefix: &str) -> Finding {
    let command = Command::new("nft").args(["-j", "list", "ruleset"]);
    if !command.program_exists() {
        return good("there is no nft, so the rules are unknown");
    }
    let json = match nft(&command) {
        Ok(json) => json,
        Err(error) if error.kind() == Kind::Denied => {
            return doubtful(
                "only root may see the firewall's rules",
                "sudo nft list ruleset",
            );
        }
        Err(error) => return doubtful(in_one_line(&error), "sudo nft list ruleset"),
    };
    let Ok(document) = serde_json::from_slice::<Value>(&json) else {
        return doubtful("nft's output cannot be read", "sudo nft -j list ruleset");
    };
    if let Some(finding) = dropped(&document, tap_prefix) {
        return finding;
    }
    legacy(tap_prefix).unwrap_or_else(|| good("no other firewall drops what guests send"))
}

/// A chain on the forward hook.
struct Chain<'a> {
    family: &'a str,
    table: &'a str,
    name: &'a str,
    drops: bool,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The first chain that drops, and the command that changes it.
fn dropped(document: &Value, tap_prefix: &str) -> Option<Finding> {
    let objects: Vec<&Value> = document.get("nftables")?.as_array()?.iter().collect();
    let chains = objects.iter().filter_map(|it| it.get("chain"));
    let forward = chains
        .filter(|it| text(it, "hook") == "forward")
        .map(|it| Chain {
            family: text(it, "family"),
            table: text(it, "table"),
            name: text(it, "name"),
            drops: text(it, "policy") == "drop",
        });
    forward
        .filter(|it| matches!(it.family, "ip" | "inet") && !it.table.starts_with(OURS))
        .find_map(|it| judge(&it, &objects, tap_prefix))
}

fn judge(chain: &Chain<'_>, objects: &[&Value], tap_prefix: &str) -> Option<Finding> {
    let Chain {
        family,
        table,
        name,
        drops,
    } = *chain;
    let in_table = |it: &&Value| text(it, "family") == family && text(it, "table") == table;
    let has_chain = |prefix: &str| {
        let mut chains = objects
            .iter()
            .filter_map(|it| it.get("chain"))
            .filter(in_table);
        chains.any(|it| text(it, "name").starts_with(prefix))
    };
    let accepts = |key: &str| {
        let mut rules = objects
            .iter()
            .filter_map(|it| it.get("rule"))
            .filter(in_table);
        rules.any(|it| accepts_taps(it, key, tap_prefix))
    };
    let is_firewalld = family == "inet" && table == "firewalld";
    // firewalld accepts by policy, and rejects by its last rule.
    if !(drops || is_firewalld && name == "filter_FORWARD")
        || accepts("iifname") && accepts("oifname")
    {
        return None;
    }
    let found = format!("the chain `{family} {table} {name}` drops what guests send");
    let taps = format!("{tap_prefix}+");
    if is_firewalld {
        return (!accepts("iifname")).then(|| {
            let zone =
                format!("sudo firewall-cmd --permanent --zone=trusted --add-interface={taps}");
            doubtful(found, format!("{zone} && sudo firewall-cmd --reload"))
        });
    }
    let is_iptables = family == "ip" && table == "filter" && name == "FORWARD";
    if is_iptables && has_chain("DOCKER-USER") {
        // RootOp::AcceptInDockerUser adds our rules there with the first VM that needs them.
        return None;
    }
    if is_iptables && has_chain("ufw-") {
        let hint = format!("sudo ufw route allow in on {taps}");
        return (!accepts("iifname")).then(|| doubtful(found, hint));
    }
    let hint = if is_iptables {
        let answers = "-m conntrack --ctstate RELATED,ESTABLISHED";
        format!(
            "sudo iptables -I FORWARD -i {taps} -j ACCEPT && \
             sudo iptables -I FORWARD -o {taps} {answers} -j ACCEPT"
        )
    } else {
        let rule = format!("insert rule {family} {table} {name}");
        format!(
            "sudo nft '{rule} iifname \"{tap_prefix}*\" accept; \
             {rule} oifname \"{tap_prefix}*\" ct state established,related accept'"
        )
    };
    Some(doubtful(found, hint))
}

/// Whether the rule accepts an interface by a name that matches all our TAPs.
fn accepts_taps(rule: &Value, key: &str, tap_prefix: &str) -> bool {
    let parts = || {
        rule.get("expr")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let matches = parts().filter_map(|it| it.get("match")).any(|it| {
        let names_interface = it.pointer("/left/meta/key").and_then(Value::as_str) == Some(key);
        let beginning = it
            .get("right")
            .and_then(Value::as_str)
            .and_then(|it| it.strip_suffix('*'));
        names_interface && beginning.is_some_and(|it| tap_prefix.starts_with(it))
    });
    matches && parts().any(|it| it.get("accept").is_some())
}

/// The legacy iptables, whose rules nft does not list.
fn legacy(tap_prefix: &str) -> Option<Finding> {
    let tables = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").ok()?;
    tables.lines().find(|line| *line == "filter")?;
    let command = Command::new("iptables-legacy")
        .args(["-w", "10", "-S", "FORWARD"])
        .patience(PROMPTLY);
    let rules = command.output().ok()?.text();
    let taps = format!("{tap_prefix}+");
    let is_mended = rules
        .lines()
        .any(|it| it.contains(&taps) && it.ends_with("-j ACCEPT"));
    if !rules.lines().any(|it| it == "-P FORWARD DROP") || is_mended {
        return None;
    }
    let answers = "-m conntrack --ctstate RELATED,ESTABLISHED";
    Some(doubtful(
        "the chain FORWARD of iptables-legacy drops what guests send",
        format!(
            "sudo iptables-legacy -I FORWARD -i {taps} -j ACCEPT && \
             sudo iptables-legacy -I FORWARD -o {taps} {answers} -j ACCEPT"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(family: &str, table: &str, name: &str, policy: &str) -> Value {
        json!({"chain": {"family": family, "table": table, "name": name, "type": "filter",
            "hook": "forward", "prio": 0, "policy": policy}})
    }

    fn accept(family: &str, table: &str, key: &str, name: &str) -> Value {
        let left = json!({"meta": {"key": key}});
        json!({"rule": {"family": family, "table": table, "chain": "any", "expr": [
            {"match": {"op": "==", "left": left, "right": name}}, {"accept": null}]}})
    }

    fn hint(objects: &Value) -> Option<String> {
        match dropped(&json!({ "nftables": objects }), "bg1ab")? {
            Finding::Doubtful { hint, .. } => Some(hint),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn chains_that_accept_or_are_ours_or_speak_ipv6_are_no_trouble() {
        let objects = json!([
            chain("ip", "filter", "FORWARD", "accept"),
            chain("inet", "banger_00ff", "forward", "drop"),
            chain("ip6", "filter", "FORWARD", "drop"),
        ]);
        assert_eq!(hint(&objects), None);
    }

    #[test]
    fn a_native_chain_is_mended_with_nft() {
        let drop = chain("inet", "mine", "forward", "drop");
        assert_eq!(
            hint(&json!([drop])).unwrap(),
            "sudo nft 'insert rule inet mine forward iifname \"bg1ab*\" accept; insert rule inet \
             mine forward oifname \"bg1ab*\" ct state established,related accept'"
        );
        let mended = [
            accept("inet", "mine", "iifname", "bg1ab*"),
            accept("inet", "mine", "oifname", "bg*"),
        ];
        assert_eq!(hint(&json!([drop, mended[0], mended[1]])), None);
        let elsewhere = accept("inet", "other", "oifname", "bg1ab*");
        assert!(hint(&json!([drop, mended[0], elsewhere])).is_some());
    }

    #[test]
    fn each_tool_is_mended_with_its_own_command() {
        let drop = chain("ip", "filter", "FORWARD", "drop");
        let extra =
            |name: &str| json!({"chain": {"family": "ip", "table": "filter", "name": name}});
        let plain = hint(&json!([drop])).unwrap();
        assert!(
            plain.starts_with("sudo iptables -I FORWARD -i bg1ab+ -j ACCEPT && "),
            "{plain}"
        );
        assert_eq!(hint(&json!([drop, extra("DOCKER-USER")])), None);
        let ufw = json!([drop, extra("ufw-before-forward")]);
        assert_eq!(hint(&ufw).unwrap(), "sudo ufw route allow in on bg1ab+");
        let firewalld = json!([chain("inet", "firewalld", "filter_FORWARD", "accept")]);
        assert!(hint(&firewalld).unwrap().contains("--add-interface=bg1ab+"));
    }
}
