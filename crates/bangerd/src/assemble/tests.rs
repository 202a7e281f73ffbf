//! The laws over each capability, as it is assembled.

use banger_api::location::Location;
use banger_api::{CreateVm, Mib, VmSpecPatch};
use banger_host::{Host, Sim, SimState};

use super::*;
use crate::config::RootDiskChoice;
use crate::vm::Vm;

/// A hook that changes the host.
type Hook = fn(&dyn Capability, &Vm, &dyn Host) -> Result<()>;

const HOOKS: [(&str, Hook); 6] = [
    ("create", |it, vm, host| it.create(vm, host)),
    ("grow", |it, vm, host| it.grow(vm, host)),
    ("prepare", |it, vm, host| it.prepare(vm, host)),
    ("apply", |it, vm, host| it.apply(vm, host)),
    ("teardown", |it, vm, host| it.teardown(vm, host)),
    ("delete", |it, vm, host| it.delete(vm, host)),
];

/// The paths of a daemon on a simulated host.
pub(crate) fn simulated_location() -> Location {
    Location {
        state: "/state".into(),
        socket: "/state/run/bangerd.sock".into(),
        config: "/none".into(),
        bundle: "/none".into(),
        bundle_reason: String::new(),
    }
}

/// A simulated host with the persistent parts of a VM, and the VM.
pub(crate) fn made() -> (Sim, Vm, Vec<Box<dyn Capability>>) {
    made_with(RootDiskChoice::Auto)
}

/// The same, with this root disk.
fn made_with(root_disk: RootDiskChoice) -> (Sim, Vm, Vec<Box<dyn Capability>>) {
    let sim = Sim::new();
    let location = simulated_location();
    let config = Config {
        root_disk,
        ..Config::default()
    };
    let engine = assemble(&location, &config, &Mode::Sim(sim.clone())).unwrap();
    let request = CreateVm {
        name: Some("calm-otter".to_owned()),
        spec: VmSpecPatch {
            nat: Some(true),
            disk_size: Some(Mib(1024)),
            ..VmSpecPatch::default()
        },
        no_start: true,
        ..CreateVm::default()
    };
    let view = engine.create(&request, &|_| {}).unwrap();
    let layout = Layout::new("/state");
    let mut vms = crate::vm::store::Store::new(layout.clone())
        .load(&sim)
        .unwrap()
        .vms;
    assert_eq!(vms[0].id, view.id);
    let key = Key {
        path: "/none".into(),
        public: "ssh-ed25519 AAAA".to_owned(),
    };
    let mode = Mode::Sim(sim.clone());
    let assembly = Assembly::new(&location, &config, &mode).unwrap();
    let all = assembly.capabilities(HypervisorUser::Daemon, key);
    (sim, vms.remove(0), all)
}

/// The changes that a hook makes to a host.
fn after(sim: &Sim) -> SimState {
    sim.state()
}

const ROOT_DISKS: [RootDiskChoice; 2] = [RootDiskChoice::Auto, RootDiskChoice::DmSnapshot];

#[test]
fn every_hook_is_idempotent() {
    ROOT_DISKS.into_iter().for_each(is_idempotent);
}

fn is_idempotent(root_disk: RootDiskChoice) {
    let (sim, vm, all) = made_with(root_disk);
    for (name, hook) in HOOKS {
        let in_order: Vec<&Box<dyn Capability>> = match name {
            "teardown" | "delete" => all.iter().rev().collect(),
            _ => all.iter().collect(),
        };
        for capability in in_order {
            let context = format!("{name} of {}", capability.name());
            hook(&**capability, &vm, &sim).unwrap_or_else(|e| panic!("{context}: {e}"));
            let once = after(&sim);
            hook(&**capability, &vm, &sim).unwrap_or_else(|e| panic!("{context}, again: {e}"));
            assert_eq!(after(&sim), once, "{context}, again, changes something");
        }
    }
}

#[test]
fn a_prepare_that_fails_at_any_change_is_undone_by_teardown() {
    ROOT_DISKS.into_iter().for_each(prepare_is_undone);
}

fn prepare_is_undone(root_disk: RootDiskChoice) {
    let made = || made_with(root_disk);
    let count = made().2.len();
    for index in 0..count {
        for n in 0..50 {
            let (sim, vm, all) = made();
            for before in &all[..index] {
                before.prepare(&vm, &sim).unwrap();
            }
            let before = after(&sim);
            let changes = sim.changes();
            sim.fail_at(n);
            let outcome = all[index].prepare(&vm, &sim);
            let reached = sim.changes() - changes > n;
            sim.revive();
            let context = format!("{} at change {n}", all[index].name());
            assert_eq!(outcome.is_err(), reached, "{context}");
            all[index].teardown(&vm, &sim).unwrap();
            all[index].teardown(&vm, &sim).unwrap();
            if index == 0 || !reached {
                // A teardown may remove what an earlier capability made; the teardown of the VM
                // removes all anyway.
                for it in all[..index].iter().rev() {
                    it.teardown(&vm, &sim).unwrap();
                }
                let (bare, _, _) = made();
                assert_eq!(after(&sim).taps, bare.state().taps, "{context}");
                assert_eq!(after(&sim).snapshots, bare.state().snapshots, "{context}");
                assert_eq!(after(&sim).loops, bare.state().loops, "{context}");
                assert_eq!(after(&sim).tables, bare.state().tables, "{context}");
                assert_eq!(after(&sim).forwarding, bare.state().forwarding, "{context}");
            } else {
                assert_eq!(after(&sim).taps, before.taps, "{context}");
                assert_eq!(after(&sim).snapshots, before.snapshots, "{context}");
                assert_eq!(after(&sim).forwarding, before.forwarding, "{context}");
            }
            if !reached {
                break;
            }
        }
    }
}

#[test]
fn a_teardown_of_what_was_never_made_is_fine() {
    let (sim, vm, all) = made();
    let before = after(&sim);
    for capability in all.iter().rev() {
        capability.teardown(&vm, &sim).unwrap();
    }
    assert_eq!(after(&sim), before);
}

/// The number of host queries in one round of `holds`, for this many VMs with NAT.
fn looks_of_a_round(count: u32) -> u64 {
    let (sim, vm, all) = made();
    let vms: Vec<Vm> = (0..count)
        .map(|index| Vm {
            id: banger_api::VmId::from_bits(index),
            address: [10, 215, 1, u8::try_from(index).unwrap()].into(),
            ..vm.clone()
        })
        .collect();
    for vm in &vms {
        all.iter().for_each(|it| it.create(vm, &sim).unwrap());
        all.iter().for_each(|it| it.prepare(vm, &sim).unwrap());
    }
    let running: Vec<&Vm> = vms.iter().collect();
    let before = sim.looks();
    for capability in &all {
        let answers = capability.holds(&running, &sim);
        assert_eq!(answers.len(), vms.len());
        // The guests got no resolvers.
        let well = vec![Ok(capability.name() != "DNS"); vms.len()];
        assert_eq!(answers, well, "{}", capability.name());
    }
    sim.looks() - before
}

#[test]
fn a_round_of_looks_takes_two_for_each_vm_and_nine_for_all() {
    // With separate queries for each VM it was 9 for each: 180 for twenty.
    for count in [1, 2, 20] {
        assert_eq!(
            looks_of_a_round(count),
            u64::from(2 * count + 9),
            "{count} VMs"
        );
    }
}
