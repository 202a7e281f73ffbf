//! The table: damaged, repaired, removed, and beside other firewalls.

use super::lab::*;
use crate::command::Command;
use crate::linux::testing::{attempt, in_own_network, run, skipped};

#[test]
fn a_table_that_somebody_harmed_is_noticed_and_made_whole() {
    in_own_network(|| {
        let lab = Lab::new();
        lab.nat(0, true);
        run("nft", "add table inet somebodys");
        run("nft", "add chain inet somebodys rules");
        let others = run("nft", "list table inet somebodys");
        assert!(lab.holds(&[0, 1], &[0]));
        assert!(!lab.holds(&[0, 1], &[1]));
        let address = GUESTS[0].1;
        let harms = [
            format!("flush chain inet {TABLE} prerouting"),
            format!("flush chain inet {TABLE} forward"),
            format!("flush table inet {TABLE}"),
            format!("delete chain inet {TABLE} input"),
            format!("insert rule inet {TABLE} forward accept"),
            format!("add chain inet {TABLE} more"),
            format!("delete element inet {TABLE} guests {{ bg1a . {address} }}"),
            format!("delete table inet {TABLE}"),
        ];
        for harm in harms {
            // Only an empty chain can be deleted.
            if harm.starts_with("delete chain") {
                run("nft", &harm.replace("delete", "flush"));
            }
            run("nft", &harm);
            assert!(!lab.holds(&[0, 1], &[0]), "after {harm}");
            for (tap, address) in GUESTS {
                lab.firewall
                    .allow_guest(TABLE, PREFIX, tap, address)
                    .unwrap();
            }
            lab.nat(0, true);
            if harm.ends_with(" more") {
                run("nft", &harm.replace("add", "delete"));
            }
            assert!(lab.holds(&[0, 1], &[0]), "mended after {harm}");
            assert!(lab.guest_asks(0, OUTSIDE).is_some(), "works after {harm}");
            assert!(lab.guest_asks_in_vain(0, UPLINK), "keeps out after {harm}");
            assert_eq!(run("nft", "list table inet somebodys"), others);
        }
        run("nft", "flush ruleset");
        assert!(!lab.holds(&[], &[]));
    });
}

#[test]
fn the_last_guest_takes_the_table_along_and_nothing_can_be_taken_twice() {
    in_own_network(|| {
        let firewall = Firewall::default();
        let [(first, one), (second, two)] = GUESTS;
        let tables = || run("nft", "list tables");
        assert_eq!(
            firewall.forbid_guest(TABLE, first, one, &[]).unwrap(),
            Change::Already
        );
        assert_eq!(firewall.forbid_nat(TABLE, one).unwrap(), Change::Already);
        assert_eq!(tables(), "");
        firewall.allow_guest(TABLE, PREFIX, first, one).unwrap();
        assert_eq!(
            firewall.allow_guest(TABLE, PREFIX, first, one).unwrap(),
            Change::Already
        );
        firewall.allow_guest(TABLE, PREFIX, second, two).unwrap();
        firewall.allow_nat(TABLE, PREFIX, one).unwrap();
        assert_eq!(
            firewall.forbid_guest(TABLE, first, one, &[]).unwrap(),
            Change::Made
        );
        assert_eq!(
            firewall.forbid_guest(TABLE, first, one, &[]).unwrap(),
            Change::Already
        );
        let now = look(TABLE).unwrap().unwrap();
        assert!(now.is_whole && now.nat.is_empty());
        assert_eq!(now.guests.len(), 1);
        assert_eq!(
            firewall.forbid_guest(TABLE, second, two, &[]).unwrap(),
            Change::Made
        );
        assert_eq!(
            firewall.forbid_guest(TABLE, second, two, &[]).unwrap(),
            Change::Already
        );
        assert_eq!(tables(), "");
    });
}

#[test]
fn a_tap_has_one_address_however_many_it_had() {
    in_own_network(|| {
        let firewall = Firewall::default();
        let [(tap, one), (_, two)] = GUESTS;
        firewall.allow_guest(TABLE, PREFIX, tap, one).unwrap();
        assert_eq!(
            firewall.allow_guest(TABLE, PREFIX, tap, two).unwrap(),
            Change::Made
        );
        let now = look(TABLE).unwrap().unwrap();
        assert_eq!(
            now.guests.into_iter().collect::<Vec<_>>(),
            [(tap.to_owned(), two)]
        );
    });
}

#[test]
fn many_at_once_are_all_let_in_and_all_taken_out() {
    in_own_network(|| {
        let firewall = Firewall::default();
        let guests: Vec<(String, Ipv4Addr)> = (2..10)
            .map(|it| (format!("bg1x{it}"), Ipv4Addr::new(10, 88, 1, it)))
            .collect();
        std::thread::scope(|scope| {
            for (tap, address) in &guests {
                scope.spawn(|| firewall.allow_guest(TABLE, PREFIX, tap, *address).unwrap());
                scope.spawn(|| firewall.allow_nat(TABLE, PREFIX, *address).unwrap());
            }
        });
        let nat: Vec<Ipv4Addr> = guests.iter().map(|it| it.1).collect();
        assert!(firewall.holds(TABLE, &guests, &nat).unwrap());
        std::thread::scope(|scope| {
            for (tap, address) in &guests {
                scope.spawn(|| firewall.forbid_guest(TABLE, tap, *address, &[]).unwrap());
            }
        });
        assert_eq!(run("nft", "list tables"), "");
    });
}

#[test]
fn dockers_forwarding_lets_our_guests_through_and_forgets_them() {
    in_own_network(|| {
        if attempt("iptables", "-w -N DOCKER-USER").is_err() {
            skipped("iptables is not there, or not on this kernel");
            return;
        }
        use crate::linux::docker::{accept, is_accepted};
        let lab = Lab::new();
        lab.nat(0, true);
        // Docker does this when it starts.
        run("iptables", "-w -A FORWARD -j DOCKER-USER");
        run("iptables", "-w -P FORWARD DROP");
        run("iptables", "-w -A DOCKER-USER -j RETURN");
        let before = run("iptables", "-S");
        assert!(lab.guest_asks_in_vain(0, OUTSIDE));
        assert!(!is_accepted(PREFIX).unwrap(), "Docker came later");
        assert_eq!(accept(PREFIX, true).unwrap(), Change::Made);
        assert_eq!(accept(PREFIX, true).unwrap(), Change::Already);
        assert!(is_accepted(PREFIX).unwrap());
        assert!(lab.guest_asks(0, OUTSIDE).is_some());
        assert!(
            lab.guest_asks_in_vain(1, OUTSIDE),
            "our own table still decides"
        );
        assert_eq!(
            accept("bg2", false).unwrap(),
            Change::Already,
            "not another's"
        );
        assert_eq!(accept(PREFIX, false).unwrap(), Change::Made);
        assert_eq!(accept(PREFIX, false).unwrap(), Change::Already);
        assert_eq!(run("iptables", "-S"), before);
        run("iptables", "-w -F");
        run("iptables", "-w -X DOCKER-USER");
        assert_eq!(
            accept(PREFIX, true).unwrap(),
            Change::Already,
            "no chain, nothing to do"
        );
        assert!(is_accepted(PREFIX).unwrap());
    });
}

#[test]
fn the_hint_for_another_firewall_fixes_it() {
    in_own_network(|| {
        let lab = Lab::new();
        lab.nat(0, true);
        let probe = || crate::linux::probes::other_firewalls(PREFIX);
        assert!(matches!(probe(), crate::Finding::Good(_)), "{:?}", probe());
        run("nft", "add table inet mine");
        let chain = "{ type filter hook forward priority 0; policy drop; }";
        run("nft", &format!("add chain inet mine gate {chain}"));
        assert!(lab.guest_asks_in_vain(0, OUTSIDE));
        let crate::Finding::Doubtful { hint, .. } = probe() else {
            panic!("{:?}", probe())
        };
        let typed = hint.replace("sudo ", "");
        Command::new("sh").args(["-c", &typed]).run().unwrap();
        assert!(lab.guest_asks(0, OUTSIDE).is_some(), "after `{typed}`");
        assert!(matches!(probe(), crate::Finding::Good(_)), "{:?}", probe());
        if attempt("iptables", "-w -P FORWARD DROP").is_err() {
            skipped("iptables is not there, or not on this kernel");
            return;
        }
        assert!(lab.guest_asks_in_vain(0, OUTSIDE));
        let crate::Finding::Doubtful { hint, .. } = probe() else {
            panic!("{:?}", probe())
        };
        let typed = hint.replace("sudo ", "");
        Command::new("sh").args(["-c", &typed]).run().unwrap();
        assert!(lab.guest_asks(0, OUTSIDE).is_some(), "after `{typed}`");
        assert!(matches!(probe(), crate::Finding::Good(_)), "{:?}", probe());
    });
}
