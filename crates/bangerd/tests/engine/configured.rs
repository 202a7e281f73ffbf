//! The effects of the configuration.

use banger_api::{StopVm, Verdict};
use banger_host::Sim;
use bangerd::config::Config;
use bangerd::machine::DiskCache;

use crate::world::{World, named};

#[test]
fn disks_that_do_not_flush_are_warned_of() {
    let sim = Sim::new();
    let config = Config {
        disk_cache: DiskCache::Unsafe,
        ..Config::default()
    };
    let world = World::configured(sim, config);
    let is_noted = |notes: &[String]| notes.iter().any(|note| note.contains("a power failure"));
    let vm = world.create("calm-otter", true, true);
    assert!(is_noted(&vm.notes), "{:?}", vm.notes);
    let report = world.engine.doctor();
    let check = report.checks.iter().find(|it| it.name == "disk cache");
    assert_eq!(check.unwrap().verdict, Verdict::Warn);

    let world = World::new();
    let vm = world.create("calm-otter", true, true);
    assert!(!is_noted(&vm.notes), "{:?}", vm.notes);
    let report = world.engine.doctor();
    assert!(report.checks.iter().all(|it| it.name != "disk cache"));
}

#[test]
fn what_root_jails_runs_as_a_user_of_its_own_and_later_starts_follow_the_configuration() {
    let jailed = |world: &World| {
        let state = world.sim.state();
        let last = state.processes.into_values().next_back().unwrap();
        last.jailed
    };
    let config = Config {
        jailer: true,
        ..Config::default()
    };
    let mut world = World::configured(Sim::new(), config);
    world.create("calm-otter", true, true);
    let first = jailed(&world).unwrap();
    assert!(first.uid >= 1_900_000_000, "{first:?}");
    world.create("shy-badger", true, true);
    let second = jailed(&world).unwrap();
    assert_ne!((first.uid, &first.name), (second.uid, &second.name));
    world.config.jailer = false;
    world.restart();
    let restart = StopVm::default();
    world
        .engine
        .restart(&named("calm-otter"), &restart, &|_| {})
        .unwrap();
    assert_eq!(jailed(&world), None);
}
