//! The host's ledger of forwarding, and the record of an older daemon that it replaced.

use banger_api::{DeleteVm, KillVm};
use banger_host::Ledger;

use crate::world::{World, named};

/// Writes the record of an older daemon, which kept the host's settings in its own state directory.
fn older_settings(world: &World, contents: &str) {
    world.write("/state/settings.json", contents.as_bytes());
}

#[test]
fn what_was_written_down_in_another_boot_of_the_host_is_forgotten() {
    let world = World::new();
    world.create("calm-otter", true, false);
    world
        .sim
        .tamper(|state| state.forwarding.insert("eth0".to_owned(), true));
    let stale = r#"{"boot_id": "long ago", "uplinks": {"eth0": {"was": false, "users": []}}}"#;
    older_settings(&world, stale);
    let delete = DeleteVm::default();
    world
        .engine
        .delete(&named("calm-otter"), &delete, &|_| {})
        .unwrap();
    assert!(world.run_time().files.is_empty());
    assert!(world.run_time().forwarding["eth0"]);
}

#[test]
fn the_host_settings_of_an_older_daemon_are_adopted_with_its_running_vms() {
    let mut world = World::new();
    let before = world.run_time();
    world.create("calm-otter", true, true);
    // The state after the older daemon: its own record, and no ledger of the host's.
    world.sim.tamper(|state| state.ledger = Ledger::default());
    older_settings(
        &world,
        r#"{"boot_id": "sim", "uplinks": {"eth0": {"was": false, "users": ["0011aabb"]}}}"#,
    );
    world.restart();
    let now = world.run_time();
    assert!(now.forwarding["eth0"] && !now.ledger.interfaces["eth0"].was);
    assert!(now.files.iter().all(|it| !it.ends_with("settings.json")));
    let kill = KillVm::default();
    world
        .engine
        .kill(&named("calm-otter"), &kill, &|_| {})
        .unwrap();
    assert_eq!(world.run_time(), before);
}
