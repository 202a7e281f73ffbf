//! Interfaces of the host, held by guests of several instances, on the simulated host.

use super::*;
use crate::{GuestTap, Host as _, MacAddress, Op, RootOp, Sim};

const ADA: Instance = Instance::of_digits(0xada0);
const BEN: Instance = Instance::of_digits(0xbe10);

const ONE: MachineId = MachineId::from_bits(1);
const TWO: MachineId = MachineId::from_bits(2);

/// A host where each instance has two guests with TAPs that forward.
fn host() -> Sim {
    let sim = Sim::new();
    for instance in [ADA, BEN] {
        for machine in [ONE, TWO] {
            make_tap(&sim, instance, machine);
        }
    }
    sim
}

fn make_tap(sim: &Sim, instance: Instance, machine: MachineId) {
    let tap = GuestTap {
        machine,
        uid: 1,
        host_address: [10, 216, 0, 1].into(),
        guest_address: [10, 216, 0, 2].into(),
        mac: MacAddress::from_bits(1),
        mtu: 1500,
    };
    for op in [
        RootOp::MakeTap(tap),
        RootOp::ForwardGuest { machine, on: true },
    ] {
        change(sim, instance, op).unwrap();
    }
}

fn change(sim: &Sim, instance: Instance, op: RootOp) -> Result<Change> {
    sim.change(&Op::Root(instance, op))
}

fn hold(sim: &Sim, instance: Instance, machine: MachineId) -> Result<Change> {
    change(sim, instance, RootOp::HoldForwarding { machine })
}

fn release(sim: &Sim, instance: Instance, machine: MachineId) -> Result<Change> {
    change(sim, instance, RootOp::ReleaseForwarding { machine })
}

fn forwards(sim: &Sim, name: &str) -> bool {
    sim.state().forwarding[name]
}

fn lent(sim: &Sim, instance: Instance) -> BTreeSet<String> {
    sim.state().tables[&instance.table()].lent.clone()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// Adds uplinks, each with whether it forwards by itself.
fn add_ways_out<const N: usize>(sim: &Sim, ways: [(&str, bool); N]) {
    sim.tamper(|state| {
        for (name, on) in ways {
            state.forwarding.insert(name.to_owned(), on);
            state.ways_out.push(name.to_owned());
        }
    });
}

#[test]
fn the_way_out_is_put_back_when_the_last_guest_of_all_instances_leaves_it() {
    let sim = host();
    let before = sim.state();
    let guests = [(ADA, ONE), (ADA, TWO), (BEN, ONE)];
    for (instance, machine) in guests {
        assert_eq!(hold(&sim, instance, machine).unwrap(), Change::Made);
        assert_eq!(hold(&sim, instance, machine).unwrap(), Change::Already);
    }
    assert_eq!(release(&sim, BEN, TWO).unwrap(), Change::Already);
    for (instance, machine) in guests {
        assert!(forwards(&sim, "eth0"), "another guest needs it");
        assert!(sim.state().docker_user.contains(&instance.tap_prefix()));
        assert_eq!(release(&sim, instance, machine).unwrap(), Change::Made);
        assert_eq!(release(&sim, instance, machine).unwrap(), Change::Already);
    }
    assert_eq!(sim.state(), before);
}

#[test]
fn an_instance_that_leaves_takes_only_its_own_rules_along() {
    let sim = host();
    hold(&sim, ADA, ONE).unwrap();
    hold(&sim, BEN, ONE).unwrap();
    release(&sim, ADA, ONE).unwrap();
    assert!(forwards(&sim, "eth0"));
    assert_eq!(lent(&sim, ADA), names([]));
    assert_eq!(lent(&sim, BEN), names(["eth0"]));
    let docker = BTreeSet::from([BEN.tap_prefix()]);
    assert_eq!(sim.state().docker_user, docker);
    assert!(sim.forwarding_holds(BEN).unwrap());
    assert!(!sim.forwarding_holds(ADA).unwrap());
}

#[test]
fn what_forwarded_before_forwards_after() {
    let sim = host();
    sim.tamper(|state| state.forwarding.insert("eth0".to_owned(), true));
    hold(&sim, ADA, ONE).unwrap();
    release(&sim, ADA, ONE).unwrap();
    assert!(forwards(&sim, "eth0"));
}

#[test]
fn what_somebody_switched_off_meanwhile_is_on_for_guests_alone() {
    let sim = host();
    sim.tamper(|state| state.forwarding.insert("eth0".to_owned(), true));
    hold(&sim, ADA, ONE).unwrap();
    assert_eq!(lent(&sim, ADA), names([]));
    sim.tamper(|state| state.forwarding.insert("eth0".to_owned(), false));
    assert!(!sim.forwarding_holds(ADA).unwrap());
    hold(&sim, ADA, ONE).unwrap();
    assert!(forwards(&sim, "eth0"));
    assert_eq!(lent(&sim, ADA), names(["eth0"]));
    release(&sim, ADA, ONE).unwrap();
    assert!(!forwards(&sim, "eth0"));
}

#[test]
fn a_machine_without_a_tap_holds_nothing() {
    let sim = host();
    let before = sim.state();
    let error = hold(&sim, ADA, MachineId::from_bits(3)).unwrap_err();
    assert_eq!(error.kind(), Kind::Missing);
    assert_eq!(sim.state(), before);
    // A guest whose TAP was removed without a release counts as released, too.
    hold(&sim, ADA, ONE).unwrap();
    hold(&sim, BEN, ONE).unwrap();
    change(&sim, ADA, RootOp::RemoveTap { machine: ONE }).unwrap();
    release(&sim, BEN, ONE).unwrap();
    assert!(!forwards(&sim, "eth0"));
    assert_eq!(sim.state().ledger, Ledger::default());
    assert!(sim.state().docker_user.is_empty());
}

#[test]
fn an_interface_is_kept_to_guests_before_it_forwards() {
    let sim = host();
    add_ways_out(&sim, [("vpn0", false), ("bridge0", true)]);
    // The steps are the op, the record, the restriction, then forwarding.
    sim.crash_before(3);
    hold(&sim, ADA, ONE).unwrap_err();
    assert_eq!(lent(&sim, ADA), names(["eth0", "vpn0"]));
    assert!(!forwards(&sim, "eth0"));
    sim.revive();
    hold(&sim, ADA, ONE).unwrap();
    assert!(forwards(&sim, "eth0") && forwards(&sim, "vpn0"));
    assert_eq!(lent(&sim, ADA), names(["eth0", "vpn0"]));
}

#[test]
fn forwarding_of_the_whole_host_is_somebody_elses_decision() {
    let sim = host();
    hold(&sim, ADA, ONE).unwrap();
    // Docker is installed.
    sim.tamper(|state| state.forwards_everywhere = true);
    assert!(!sim.forwarding_holds(ADA).unwrap());
    hold(&sim, ADA, ONE).unwrap();
    assert_eq!(lent(&sim, ADA), names([]));
    release(&sim, ADA, ONE).unwrap();
    assert!(forwards(&sim, "eth0"));
}

#[test]
fn a_way_out_that_comes_is_held_and_one_that_is_none_any_more_is_put_back() {
    let sim = host();
    hold(&sim, ADA, ONE).unwrap();
    hold(&sim, BEN, ONE).unwrap();
    add_ways_out(&sim, [("vpn0", false)]);
    sim.tamper(|state| state.ways_out.retain(|name| name != "eth0"));
    assert!(!sim.forwarding_holds(ADA).unwrap());
    hold(&sim, ADA, ONE).unwrap();
    assert!(forwards(&sim, "vpn0") && forwards(&sim, "eth0"));
    hold(&sim, BEN, ONE).unwrap();
    assert!(forwards(&sim, "vpn0") && !forwards(&sim, "eth0"));
    assert_eq!(lent(&sim, ADA), names(["vpn0"]));
    // An interface that was removed has no entry.
    sim.tamper(|state| state.forwarding.remove("vpn0"));
    release(&sim, ADA, ONE).unwrap();
    release(&sim, BEN, ONE).unwrap();
    assert_eq!(sim.state().ledger, Ledger::default());
}

#[test]
fn the_old_value_outlives_a_crash_before_every_step() {
    for n in 0.. {
        let sim = host();
        hold(&sim, BEN, ONE).unwrap();
        let before = sim.state();
        sim.crash_before(n);
        let outcome = hold(&sim, ADA, ONE).and_then(|_| release(&sim, ADA, ONE));
        sim.revive();
        assert!(forwards(&sim, "eth0"), "step {n}: BEN needs it");
        // A teardown releases it.
        release(&sim, ADA, ONE).unwrap();
        assert_eq!(sim.state(), before, "step {n}");
        release(&sim, BEN, ONE).unwrap();
        assert!(!forwards(&sim, "eth0"), "step {n}");
        if outcome.is_ok() {
            assert!(n > 8, "{n}");
            return;
        }
    }
}

#[test]
fn a_guest_that_never_comes_back_after_a_crash_keeps_nothing_on() {
    for n in 0.. {
        let sim = host();
        sim.crash_before(n);
        let outcome = hold(&sim, ADA, ONE).and_then(|_| release(&sim, ADA, ONE));
        sim.revive();
        change(&sim, ADA, RootOp::RemoveTap { machine: ONE }).unwrap();
        hold(&sim, BEN, ONE).unwrap();
        release(&sim, BEN, ONE).unwrap();
        assert!(!forwards(&sim, "eth0"), "step {n}");
        assert!(sim.state().docker_user.is_empty(), "step {n}");
        if outcome.is_ok() {
            return;
        }
    }
}

#[test]
fn the_record_of_an_older_daemon_is_adopted() {
    let adopt = |sim: &Sim, off_before: BTreeSet<String>| {
        change(sim, ADA, RootOp::AdoptForwarding { off_before })
    };
    let sim = host();
    sim.tamper(|state| state.forwarding.insert("eth0".to_owned(), true));
    // Another instance's guest held it first, and found it forwarding.
    hold(&sim, BEN, ONE).unwrap();
    assert_eq!(adopt(&sim, names(["eth0"])).unwrap(), Change::Made);
    assert_eq!(adopt(&sim, names(["eth0"])).unwrap(), Change::Already);
    for (instance, machine) in [(BEN, ONE), (ADA, ONE), (ADA, TWO)] {
        assert!(forwards(&sim, "eth0"));
        release(&sim, instance, machine).unwrap();
    }
    assert!(!forwards(&sim, "eth0"));
    // The guests of the record are gone already.
    let sim = Sim::new();
    sim.tamper(|state| state.forwarding.insert("eth0".to_owned(), true));
    adopt(&sim, names(["eth0", "gone0"])).unwrap();
    assert!(!forwards(&sim, "eth0"));
    assert_eq!(sim.state().ledger, Ledger::default());
}
