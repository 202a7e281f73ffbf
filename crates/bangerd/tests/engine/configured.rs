//! What a configuration changes.

use banger_api::Verdict;
use banger_host::Sim;
use bangerd::config::Config;
use bangerd::machine::DiskCache;

use crate::world::World;

#[test]
fn disks_that_do_not_flush_are_warned_of() {
    let sim = Sim::new();
    let config = Config {
        disk_cache: DiskCache::Unsafe,
        ..Config::default()
    };
    let world = World::configured(sim, config);
    let told = |notes: &[String]| notes.iter().any(|note| note.contains("a power cut"));
    let vm = world.create("calm-otter", true, true);
    assert!(told(&vm.notes), "{:?}", vm.notes);
    let report = world.engine.doctor();
    let check = report.checks.iter().find(|it| it.name == "disk cache");
    assert_eq!(check.unwrap().verdict, Verdict::Warn);

    let world = World::new();
    let vm = world.create("calm-otter", true, true);
    assert!(!told(&vm.notes), "{:?}", vm.notes);
    let report = world.engine.doctor();
    assert!(report.checks.iter().all(|it| it.name != "disk cache"));
}
