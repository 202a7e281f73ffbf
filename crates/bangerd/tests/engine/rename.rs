//! Renames: rejected names, who uses the new name at once, and a crash in between.

use banger_api::{Code, Error, Phase, RenameVm, StopVm, VmView};
use banger_host::{Look as _, Sim};
use bangerd::config::Config;

use crate::events::{after, newest, views};
use crate::world::{World, error_text, named};

fn rename(world: &World, vm: &str, name: &str) -> Result<VmView, Error> {
    let name = name.to_owned();
    let request = RenameVm { name };
    world.engine.rename(&named(vm), &request, &|_| {})
}

/// The host name that a simulated guest was given last while it ran.
fn told_name(world: &World, vm: &VmView) -> Option<String> {
    let path = format!("/state/vms/{}/machine/console.log", vm.id);
    let console = world.sim.read(path.as_ref()).unwrap().unwrap_or_default();
    let console = String::from_utf8(console).unwrap();
    let (_, name) = console.rsplit_once("simulated host name ")?;
    Some(name.trim().to_owned())
}

#[test]
fn a_running_vm_has_its_new_name_at_once_and_keeps_all_else() {
    let mut world = World::new();
    let before = world.create("calm-otter", true, true);
    let seq = newest(&world.engine);
    let vm = rename(&world, "calm-otter", "web").unwrap();
    let expected = VmView {
        name: "web".parse().unwrap(),
        dns_name: "web.vm".to_owned(),
        notes: vm.notes.clone(),
        ..before.clone()
    };
    assert_eq!(vm, expected);
    assert_eq!(told_name(&world, &vm).as_deref(), Some("web"));
    let is_of_the_name = |note: &&String| note.contains("host name");
    assert_eq!(vm.notes.iter().find(is_of_the_name), None);
    assert_eq!(world.engine.address_of("web"), Some(before.address));
    assert_eq!(world.engine.address_of("calm-otter"), None);
    let seen = views(&after(&world.engine, seq));
    assert!(seen.iter().all(|it| it.name.as_str() == "web"), "{seen:?}");
    assert_eq!(seen.last(), Some(&vm));
    world.restart();
    assert_eq!(
        world.engine.show(&named("web")).unwrap().phase,
        Phase::Running
    );
    let gone = world.engine.show(&named("calm-otter")).unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
    assert_eq!(
        world.create("calm-otter", false, false).name.as_str(),
        "calm-otter"
    );
}

#[test]
fn a_guest_that_does_not_answer_keeps_its_name_until_its_next_start() {
    let world = World::new();
    let vm = world.create("calm-otter", false, true);
    let is_noted = |vm: &VmView| {
        let noted = |note: &String| note.contains("`calm-otter`") && note.contains("restart web");
        vm.notes.iter().any(noted)
    };
    world.sim.set_free_mib(0);
    world.sim.write(vm.pid.unwrap());
    world.sim.set_free_mib(1 << 20);
    let vm = rename(&world, "calm-otter", "web").unwrap();
    assert_eq!(vm.name.as_str(), "web");
    assert_eq!(told_name(&world, &vm), None);
    assert!(is_noted(&vm), "{:?}", vm.notes);
    let former = world.record(vm.id)["vm"]["former_names"].clone();
    assert_eq!(former, serde_json::json!(["calm-otter"]));
    let restarted = world
        .engine
        .restart(&named("web"), &StopVm::default(), &|_| {});
    let restarted = restarted.unwrap();
    assert!(!is_noted(&restarted), "{:?}", restarted.notes);
    assert!(world.record(vm.id)["vm"].get("former_names").is_none());
}

#[test]
fn a_stopped_vm_remembers_the_name_that_its_guest_has() {
    let world = World::new();
    let vm = world.create("calm-otter", false, false);
    let former = |world: &World| world.record(vm.id)["vm"]["former_names"].clone();
    rename(&world, "calm-otter", "never-told").unwrap();
    assert!(former(&world).is_null(), "no guest has booted yet");
    world.start("never-told").unwrap();
    let stop = StopVm::default();
    world
        .engine
        .stop(&named("never-told"), &stop, &|_| {})
        .unwrap();
    rename(&world, "never-told", "one").unwrap();
    rename(&world, "one", "two").unwrap();
    assert_eq!(former(&world), serde_json::json!(["never-told"]));
}

#[test]
fn a_name_that_is_none_or_is_taken_is_refused_and_nothing_changes() {
    let world = World::new();
    let vm = world.create("calm-otter", false, true);
    let other = world.create("web", false, false);
    let digits = &other.id.to_string()[..5];
    for (name, code) in [
        ("", Code::Invalid),
        ("Web", Code::Invalid),
        ("a.b", Code::Invalid),
        ("localhost", Code::Invalid),
        ("../web", Code::Invalid),
        ("web", Code::Conflict),
        (digits, Code::Conflict),
    ] {
        let error = rename(&world, "calm-otter", name).unwrap_err();
        assert_eq!(error.code, code, "{name:?}: {}", error_text(&error));
        assert!(!error.hints.is_empty(), "{name:?}");
        assert_eq!(world.engine.show(&named("calm-otter")).unwrap().id, vm.id);
    }
    // Its own name does not count as taken.
    assert_eq!(
        rename(&world, "calm-otter", "calm-otter").unwrap().id,
        vm.id
    );
}

#[test]
fn a_crash_or_a_fault_at_any_change_leaves_one_name_or_the_other() {
    for crash in [true, false] {
        for n in 0.. {
            let mut world = World::configured(Sim::new(), Config::default());
            let vm = world.create("calm-otter", false, true);
            let changes = world.sim.changes();
            if crash {
                world.sim.crash_before(n);
            } else {
                world.sim.fail_at(n);
            }
            let outcome = rename(&world, "calm-otter", "web");
            let is_over = world.sim.changes() - changes <= n;
            world.restart();
            let context = format!("change {n}, crash {crash}");
            let shown = world.engine.show(&vm.id.into()).unwrap();
            let name = shown.name.as_str();
            assert!(["calm-otter", "web"].contains(&name), "{context}: {name}");
            if outcome.is_ok() {
                assert_eq!(name, "web", "{context}");
            }
            // Whichever name it has, the other one is free.
            let other = if name == "web" { "calm-otter" } else { "web" };
            world.create(other, false, false);
            if is_over {
                assert!(outcome.is_ok() && n > 0, "{context}");
                break;
            }
        }
    }
}

#[test]
fn one_name_is_given_to_one_vm_only() {
    let world = World::new();
    let names: Vec<String> = (0..8).map(|n| format!("vm-{n}")).collect();
    for name in &names {
        world.create(name, false, false);
    }
    let threads: Vec<_> = names
        .iter()
        .map(|name| {
            let (engine, name) = (world.engine.clone(), named(name));
            std::thread::spawn(move || {
                let request = RenameVm {
                    name: "web".to_owned(),
                };
                engine.rename(&name, &request, &|_| {})
            })
        })
        .collect();
    let outcomes: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
    let renamed = outcomes.iter().filter(|it| it.is_ok()).count();
    assert_eq!(renamed, 1, "{outcomes:?}");
    let is_conflict = |error: &Error| error.code == Code::Conflict;
    let mut refused = outcomes.iter().filter_map(|it| it.as_ref().err());
    assert!(refused.all(is_conflict), "{outcomes:?}");
}
