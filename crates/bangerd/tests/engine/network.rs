//! Changes of the host under running VMs, and the notes about them.

use std::time::{Duration, Instant};

use banger_api::{Code, KillVm, VmSpecPatch, VmView};
use banger_host::{Finding, MacAddress, Probe, Resolvers, SimState};

use crate::world::{World, named, request};

/// A change that damages the host.
type Harm = (&'static str, fn(&mut SimState, &str));

/// Removes each single object that a running VM has on its host's network.
const HARMS: [Harm; 9] = [
    (
        "the TAP's link, address, route or programs",
        |state, tap| {
            state.harmed_taps.insert(tap.to_owned());
        },
    ),
    ("the guest's MAC", |state, tap| {
        if let Some(tap) = state.taps.get_mut(tap) {
            tap.mac = MacAddress::from_bits(1);
        }
    }),
    ("the TAP", |state, tap| {
        state.taps.remove(tap);
        state.forwarding.remove(tap);
    }),
    ("the TAP's forwarding", |state, tap| {
        state.forwarding.insert(tap.to_owned(), false);
    }),
    ("the uplink's forwarding", |state, _| {
        state.forwarding.insert("eth0".to_owned(), false);
    }),
    ("the table", |state, _| state.tables.clear()),
    ("the address that is let out", |state, _| {
        state.tables.values_mut().for_each(|it| it.nat.clear());
    }),
    ("what is lent to guests", |state, _| {
        state.tables.values_mut().for_each(|it| it.lent.clear());
    }),
    ("the accept in Docker's chain", |state, _| {
        state.docker_user.clear();
    }),
];

/// Runs the watch until `test` is over.
fn watched(world: &World, test: impl FnOnce()) {
    let watch = {
        let engine = world.engine.clone();
        std::thread::spawn(move || engine.watch())
    };
    test();
    world.engine.shut_down();
    watch.join().unwrap();
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn whatever_is_taken_from_a_running_vm_is_put_back() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let tap = world.sim.state().taps.into_keys().next().unwrap();
    let before = world.sim.state();
    watched(&world, || {
        for (what, harm) in HARMS {
            let is_harmed = world.sim.tamper(|state| {
                harm(state, &tap);
                *state != before
            });
            assert!(is_harmed, "{what}");
            wait_until(what, || {
                let now = world.sim.state();
                now.harmed_taps.is_empty()
                    && (now.taps, now.tables) == (before.taps.clone(), before.tables.clone())
                    && now.forwarding == before.forwarding
                    && now.docker_user == before.docker_user
            });
        }
    });
}

#[test]
fn a_way_out_that_comes_later_forwards_for_guests_only_and_goes_back_to_what_it_was() {
    let world = World::new();
    let empty = world.run_time();
    world.create("calm-otter", true, true);
    let lent = |name: &str| {
        let tables = world.sim.state().tables;
        tables.values().any(|it| it.lent.contains(name))
    };
    let add = |name: &str, forwards| {
        world.sim.tamper(|state| {
            state.forwarding.insert(name.to_owned(), forwards);
            state.ways_out.push(name.to_owned());
        });
    };
    watched(&world, || {
        add("vpn0", false);
        add("lan1", true);
        wait_until("forwards", || world.run_time().forwarding["vpn0"]);
        assert!(lent("eth0") && lent("vpn0") && !lent("lan1"));
    });
    let kill = KillVm::default();
    let engine = &world.engine;
    engine.kill(&named("calm-otter"), &kill, &|_| {}).unwrap();
    let after = world.run_time().forwarding;
    assert!(!after["eth0"] && !after["vpn0"] && after["lan1"]);
    assert_eq!(world.run_time().tables, empty.tables);
}

#[test]
fn forwarding_that_another_program_enabled_stays_enabled() {
    let world = World::new();
    world.create("calm-otter", true, true);
    watched(&world, || {
        // Docker is installed.
        world.sim.tamper(|state| state.forwards_everywhere = true);
        wait_until("nothing is kept to guests", || {
            let tables = world.sim.state().tables;
            tables.values().all(|it| it.lent.is_empty())
        });
    });
    let kill = KillVm::default();
    let engine = &world.engine;
    engine.kill(&named("calm-otter"), &kill, &|_| {}).unwrap();
    assert!(world.run_time().forwarding["eth0"]);
}

#[test]
fn a_vm_without_nat_has_a_tap_that_does_not_forward() {
    let world = World::new();
    world.create("calm-otter", false, true);
    let tap = world.sim.state().taps.into_keys().next().unwrap();
    assert!(!world.run_time().forwarding[&tap]);
    watched(&world, || {
        // Forwarding for the whole host applies to every interface that exists.
        let on = |state: &mut SimState| state.forwarding.insert(tap.clone(), true);
        world.sim.tamper(on);
        wait_until("off", || !world.run_time().forwarding[&tap]);
    });
    let nat = |on| VmSpecPatch {
        nat: Some(on),
        ..VmSpecPatch::default()
    };
    for on in [true, false] {
        let set = world.engine.set(&named("calm-otter"), &nat(on), &|_| {});
        set.unwrap();
        assert_eq!(world.run_time().forwarding[&tap], on);
    }
}

fn says(vm: &VmView, words: &str) -> bool {
    vm.notes.iter().any(|note| note.contains(words))
}

#[test]
fn a_firewall_that_drops_guests_packets_is_a_note_while_it_does() {
    let world = World::new();
    let drops = Finding::Doubtful {
        found: "the chain `ip filter FORWARD` drops what guests send".to_owned(),
        hint: "sudo iptables -I FORWARD".to_owned(),
    };
    let asked = |probe: &Probe| matches!(probe, Probe::ForwardedPackets { .. });
    world.sim.find(asked, drops);
    let created = world.create("calm-otter", true, true);
    let show = || world.engine.show(&named("calm-otter")).unwrap();
    for vm in [&created, &show()] {
        assert!(
            says(vm, "drops what guests send: sudo iptables"),
            "{:?}",
            vm.notes
        );
    }
    let without = world.create("quiet-otter", false, true);
    assert!(
        !says(&without, "iptables"),
        "it sends nothing: {:?}",
        without.notes
    );
    world.sim.revive();
    world.create("third", true, true);
    assert!(!says(&show(), "iptables"), "mended: {:?}", show().notes);
}

#[test]
fn a_vm_that_has_an_address_starts_beside_a_route_that_overlaps() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let kill = KillVm::default();
    let engine = &world.engine;
    engine.kill(&named("calm-otter"), &kill, &|_| {}).unwrap();
    let overlaps = Finding::Bad {
        found: "the route 10.215.0.0/20 by `vpn0` overlaps 10.215.0.0/20".to_owned(),
        hint: "set `subnet`".to_owned(),
    };
    let asked =
        |probe: &Probe| matches!(probe, Probe::SubnetFree { subnet, .. } if subnet.prefix < 32);
    world.sim.find(asked, overlaps);
    let vm = world.start("calm-otter").unwrap();
    assert!(says(&vm, "by `vpn0` overlaps"), "{:?}", vm.notes);
    let new = engine.create(&request("new", true, true), &|_| {});
    assert_eq!(new.unwrap_err().code, Code::NotReady);
}

#[test]
fn a_resolver_that_no_guest_reaches_is_reported() {
    let world = World::new();
    let own = Resolvers {
        out_of_reach: vec!["192.168.1.2".parse().unwrap()],
        ..Resolvers::default()
    };
    world.sim.tamper(|state| state.resolvers = own);
    let vm = world.create("calm-otter", true, true);
    assert!(says(&vm, "itself (192.168.1.2)"), "{:?}", vm.notes);
    let vm = world.engine.show(&named("calm-otter")).unwrap();
    assert!(says(&vm, "dns = [\"9.9.9.9\"]"), "{:?}", vm.notes);
    let report = world.engine.doctor();
    let check = report.checks.iter().find(|it| it.name == "resolvers");
    assert!(check.unwrap().found.contains("itself (192.168.1.2)"));

    let by_ipv6 = vec!["2001:db8::1".parse().unwrap()];
    world
        .sim
        .tamper(|state| state.resolvers.out_of_reach = by_ipv6);
    let report = world.engine.doctor();
    let check = report.checks.iter().find(|it| it.name == "resolvers");
    let found = &check.unwrap().found;
    assert!(found.contains("IPv6 addresses (2001:db8::1)"), "{found}");
}

#[test]
fn a_vm_whose_address_another_interface_has_does_not_start() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let kill = KillVm::default();
    let engine = &world.engine;
    engine.kill(&named("calm-otter"), &kill, &|_| {}).unwrap();
    let is_of_one =
        |probe: &Probe| matches!(probe, Probe::SubnetFree { subnet, .. } if subnet.prefix == 32);
    let taken = Finding::Bad {
        found: "the route 10.215.0.2/32 by `bg2-0` overlaps 10.215.0.2/32".to_owned(),
        hint: "set `subnet`".to_owned(),
    };
    world.sim.find(is_of_one, taken);
    let error = world.start("calm-otter").unwrap_err();
    assert_eq!(error.code, Code::NotReady);
    assert!(
        error
            .report()
            .contains("10.215.0.2, the address of `calm-otter`"),
        "{error:?}"
    );
    assert!(
        error.report().contains("banger vm clone calm-otter NEW"),
        "{error:?}"
    );
}

#[test]
fn a_new_vm_whose_address_the_tap_of_no_vm_has_does_not_start() {
    let world = World::new();
    world.create("running", true, true);
    let own = world.run_time().taps.into_keys().next().unwrap();
    let mut stranger = own.clone();
    stranger.replace_range(own.len() - 8.., "00000000");
    let is_of_one = move |probe: &Probe| {
        matches!(probe, Probe::SubnetFree { subnet, tap_prefix }
            if subnet.prefix == 32 && !stranger.starts_with(tap_prefix))
    };
    let taken = Finding::Bad {
        found: format!("the route 10.215.0.3/32 by `{own}` overlaps 10.215.0.3/32"),
        hint: "set `subnet`".to_owned(),
    };
    world.sim.find(is_of_one, taken);
    world.create("calm-otter", true, false);
    let error = world.start("calm-otter").unwrap_err();
    assert_eq!(error.code, Code::NotReady);
    assert!(error.report().contains("banger daemon status"), "{error:?}");
}
