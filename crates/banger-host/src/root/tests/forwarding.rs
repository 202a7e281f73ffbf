//! Interfaces of the host, which are switched for a user and are nobody's.

use crate::root::forwarding::Forwarding;
use std::collections::BTreeSet;

use crate::{Change, Claim, Kind, Op, RootOp, Sim};

fn host() -> (tempfile::TempDir, Sim, Forwarding) {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::new();
    let forwarding = Forwarding::new(folder.path());
    (folder, sim, forwarding)
}

fn forwards(sim: &Sim, name: &str) -> bool {
    sim.state().forwarding[name]
}

/// A user with a table of her own.
fn user(uid: u32) -> Claim {
    Claim {
        uid,
        ..super::claim()
    }
}

/// The interface of the default route.
fn uplink(sim: &Sim) -> String {
    use crate::Look as _;
    sim.uplink().unwrap().unwrap()
}

#[test]
fn the_way_out_is_put_back_when_the_last_user_leaves_it() {
    let (_folder, sim, forwarding) = host();
    let name = uplink(&sim);
    assert!(!forwards(&sim, &name));
    assert_eq!(
        forwarding.set(&sim, &user(1), &name, true).unwrap(),
        Change::Made
    );
    assert_eq!(
        forwarding.set(&sim, &user(1), &name, true).unwrap(),
        Change::Already
    );
    assert_eq!(
        forwarding.set(&sim, &user(2), &name, true).unwrap(),
        Change::Already
    );
    assert_eq!(
        forwarding.set(&sim, &user(3), &name, false).unwrap(),
        Change::Already
    );
    assert!(forwards(&sim, &name), "a stranger switched it off");
    assert_eq!(
        forwarding.set(&sim, &user(1), &name, false).unwrap(),
        Change::Already
    );
    assert!(forwards(&sim, &name), "another user needs it");
    assert_eq!(
        forwarding.set(&sim, &user(1), &name, false).unwrap(),
        Change::Already
    );
    assert_eq!(
        forwarding.set(&sim, &user(2), &name, false).unwrap(),
        Change::Made
    );
    assert!(!forwards(&sim, &name));
}

#[test]
fn what_forwarded_before_forwards_after() {
    let (_folder, sim, forwarding) = host();
    let name = uplink(&sim);
    sim.tamper(|state| state.forwarding.insert(name.clone(), true));
    forwarding.set(&sim, &user(1), &name, true).unwrap();
    forwarding.set(&sim, &user(1), &name, false).unwrap();
    assert!(forwards(&sim, &name));
    assert_eq!(
        forwarding.set(&sim, &user(1), &name, false).unwrap(),
        Change::Already
    );
    assert!(forwards(&sim, &name));
}

#[test]
fn an_interface_that_is_not_the_way_out_is_not_switched_on() {
    let (_folder, sim, forwarding) = host();
    sim.tamper(|state| {
        state.forwarding.insert("other0".to_owned(), false);
        state.forwarding.insert("bridge0".to_owned(), true);
    });
    let error = forwarding.set(&sim, &user(1), "other0", true).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(forwarding.set(&sim, &user(1), "nosuch0", true).is_err());
    assert_eq!(
        forwarding.set(&sim, &user(1), "bridge0", true).unwrap(),
        Change::Already
    );
    assert_eq!(
        forwarding.set(&sim, &user(1), "bridge0", false).unwrap(),
        Change::Already
    );
    assert!(forwards(&sim, "bridge0"));
}

#[test]
fn every_way_out_may_be_switched_on() {
    let (_folder, sim, forwarding) = host();
    sim.tamper(|state| {
        state.forwarding.insert("vpn0".to_owned(), false);
        state.ways_out.push("vpn0".to_owned());
    });
    for name in ["eth0", "vpn0"] {
        assert_eq!(
            forwarding.set(&sim, &user(1), name, true).unwrap(),
            Change::Made
        );
    }
    forwarding.leave(&sim, 1).unwrap();
    assert!(!forwards(&sim, "eth0") && !forwards(&sim, "vpn0"));
}

#[test]
fn what_forwards_because_of_guests_forwards_for_guests_only() {
    let (_folder, sim, forwarding) = host();
    sim.tamper(|state| {
        for (name, on) in [("vpn0", false), ("bridge0", true)] {
            state.forwarding.insert(name.to_owned(), on);
            state.ways_out.push(name.to_owned());
        }
    });
    let lent = || sim.state().tables[&user(1).instance().table()].lent.clone();
    sim.refuse(|op| matches!(op, Op::Root(_, RootOp::SetForwarding { .. })));
    assert!(forwarding.set(&sim, &user(1), "eth0", true).is_err());
    assert_eq!(
        lent(),
        BTreeSet::from(["eth0".to_owned()]),
        "before it forwards"
    );
    sim.revive();
    for name in ["eth0", "vpn0", "bridge0"] {
        forwarding.set(&sim, &user(1), name, true).unwrap();
    }
    assert_eq!(lent(), BTreeSet::from(["eth0", "vpn0"].map(str::to_owned)));
    // Docker comes, and wants the whole host to forward.
    sim.tamper(|state| state.forwards_everywhere = true);
    forwarding.keep_to_guests(&sim, &user(1)).unwrap();
    assert!(lent().is_empty());
    forwarding.leave(&sim, 1).unwrap();
    assert!(forwards(&sim, "eth0"), "somebody else's wish by now");
}

#[test]
fn a_user_who_goes_leaves_everything() {
    let (_folder, sim, forwarding) = host();
    let name = uplink(&sim);
    forwarding.set(&sim, &user(1), &name, true).unwrap();
    forwarding.leave(&sim, 2).unwrap();
    assert!(forwards(&sim, &name));
    forwarding.leave(&sim, 1).unwrap();
    assert!(!forwards(&sim, &name));
    forwarding.leave(&sim, 1).unwrap();
}

#[test]
fn what_another_boot_wrote_down_is_forgotten() {
    let (folder, sim, forwarding) = host();
    let name = uplink(&sim);
    let old =
        format!(r#"{{"boot_id":"old","interfaces":{{"{name}":{{"was":false,"users":[1]}}}}}}"#);
    std::fs::write(folder.path().join("forwarding.json"), old).unwrap();
    sim.tamper(|state| state.forwarding.insert(name.clone(), true));
    assert_eq!(
        forwarding.set(&sim, &user(1), &name, false).unwrap(),
        Change::Already
    );
    assert!(forwards(&sim, &name));
}
