//! The events of VMs and of running verbs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use banger_api::{
    Change, Code, DeleteVm, EndReason, Event, KillVm, Mib, Operation, OperationState, Phase,
    StopAllVms, StopVm, Verb, VmId, VmSpecPatch, VmView,
};
use banger_host::{FileOp, Op};
use bangerd::engine::{Engine, KEPT_EVENTS};

use crate::world::{World, named};

/// The number of the newest event.
pub(crate) fn newest(engine: &Engine) -> u64 {
    engine.events(None, Duration::ZERO)[0].seq
}

/// All events after this number.
pub(crate) fn after(engine: &Engine, mut seq: u64) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let events = engine.events(Some(seq), Duration::ZERO);
        let Some(last) = events.last() else {
            return all;
        };
        seq = last.seq;
        all.extend(events);
    }
}

/// The views of VMs in the events, in order.
pub(crate) fn views(events: &[Event]) -> Vec<VmView> {
    let view = |event: &Event| match &event.change {
        Change::Vm(vm) => Some((**vm).clone()),
        _ => None,
    };
    events.iter().filter_map(view).collect()
}

fn phases(events: &[Event]) -> Vec<Phase> {
    let mut phases: Vec<Phase> = views(events).iter().map(|vm| vm.phase).collect();
    phases.dedup();
    phases
}

fn operations(events: &[Event]) -> Vec<Operation> {
    let operation = |event: &Event| match &event.change {
        Change::Operation(operation) => Some(operation.clone()),
        _ => None,
    };
    events.iter().filter_map(operation).collect()
}

/// The outcomes of operations of this verb, whoever requested them.
fn ends(events: &[Event], verb: Verb) -> Vec<OperationState> {
    let ends = operations(events).into_iter().filter(|it| it.verb == verb);
    ends.map(|it| it.state)
        .filter(|it| matches!(it, OperationState::Done | OperationState::Failed { .. }))
        .collect()
}

#[test]
fn each_verb_publishes_every_phase_and_the_whole_vm() {
    use Phase::{Creating, Deleting, Running, Starting, Stopped, Stopping};
    let world = World::new();
    let engine = &world.engine;
    let name = named("calm-otter");
    let events_of = |work: &dyn Fn()| {
        let seq = newest(engine);
        work();
        let events = after(engine, seq);
        // The newest view of a VM equals the one in a list.
        if let (Some(last), Some(listed)) = (views(&events).pop(), engine.list().pop()) {
            assert_eq!(last, listed);
        }
        events
    };
    let events = events_of(&|| drop(world.create("calm-otter", true, true)));
    assert_eq!(phases(&events), [Creating, Stopped, Starting, Running]);
    assert_eq!(ends(&events, Verb::Create), [OperationState::Done]);
    let events = events_of(&|| drop(engine.stop(&name, &StopVm::default(), &|_| {}).unwrap()));
    assert_eq!(phases(&events), [Stopping, Stopped]);
    let end = views(&events).pop().unwrap().last_end.unwrap();
    assert_eq!(end.reason, EndReason::Stopped);
    assert_eq!(ends(&events, Verb::Stop), [OperationState::Done]);
    let events = events_of(&|| drop(world.start("calm-otter").unwrap()));
    assert_eq!(phases(&events), [Starting, Running]);
    let events = events_of(&|| drop(engine.restart(&name, &StopVm::default(), &|_| {}).unwrap()));
    assert_eq!(phases(&events), [Stopping, Stopped, Starting, Running]);
    assert_eq!(ends(&events, Verb::Restart), [OperationState::Done]);
    assert_eq!(ends(&events, Verb::Stop), [], "one verb, one operation");
    let events = events_of(&|| drop(engine.kill(&name, &KillVm::default(), &|_| {}).unwrap()));
    assert_eq!(phases(&events).pop(), Some(Stopped));
    assert_eq!(ends(&events, Verb::Kill), [OperationState::Done]);
    let events = events_of(&|| drop(engine.delete(&name, &DeleteVm::default(), &|_| {}).unwrap()));
    assert_eq!(phases(&events), [Deleting]);
    let deleted = events.iter().find(
        |it| matches!(&it.change, Change::Deleted { name, .. } if name.as_str() == "calm-otter"),
    );
    assert!(deleted.is_some(), "{events:?}");
    assert_eq!(ends(&events, Verb::Delete), [OperationState::Done]);
}

#[test]
fn numbers_are_without_gaps_and_steps_are_those_that_the_client_hears() {
    let world = World::new();
    let seq = newest(&world.engine);
    let heard = std::sync::Mutex::new(Vec::new());
    let request = crate::world::request("calm-otter", false, true);
    let hear = |progress| heard.lock().unwrap().push(progress);
    world.engine.create(&request, &hear).unwrap();
    let events = after(&world.engine, seq);
    let numbers: Vec<u64> = events.iter().map(|it| it.seq).collect();
    let expected: Vec<u64> = (seq + 1..=seq + events.len() as u64).collect();
    assert_eq!(numbers, expected);
    let operations = operations(&events);
    let steps: Vec<_> = operations
        .iter()
        .filter_map(|it| match &it.state {
            OperationState::Step(progress) => Some(progress.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(steps, *heard.lock().unwrap());
    assert_eq!(operations[0].state, OperationState::Began);
    assert_eq!(operations[0].name, None, "its name is not sure yet");
    let name = operations.last().unwrap().name.clone();
    assert_eq!(name, Some("calm-otter".parse().unwrap()));
    assert!(operations.iter().all(|it| it.id == operations[0].id));
}

#[test]
fn a_setting_that_waits_for_the_next_start_is_an_event_with_its_note() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let seq = newest(&world.engine);
    let request = VmSpecPatch {
        vcpu: Some(4),
        ..VmSpecPatch::default()
    };
    let name = named("calm-otter");
    world.engine.set(&name, &request, &|_| {}).unwrap();
    let views = views(&after(&world.engine, seq));
    let [view] = views.as_slice() else {
        panic!("{views:?}");
    };
    assert_eq!((view.spec.vcpu, view.next().vcpu), (2, 4));
    assert!(
        view.notes.iter().any(|it| it.contains("next start")),
        "{view:?}"
    );
    let seq = newest(&world.engine);
    world.engine.set(&name, &request, &|_| {}).unwrap();
    let events = after(&world.engine, seq);
    assert!(
        self::views(&events).is_empty(),
        "nothing changed: {events:?}"
    );
}

#[test]
fn failures_and_rejections_are_published_with_their_errors() {
    let world = World::new();
    world.create("calm-otter", false, true);
    let seq = newest(&world.engine);
    let name = named("calm-otter");
    let request = DeleteVm::default();
    let refused = world.engine.delete(&name, &request, &|_| {}).unwrap_err();
    let events = after(&world.engine, seq);
    let failed = |error| [OperationState::Failed { error }];
    assert_eq!(ends(&events, Verb::Delete), failed(refused));
    let seq = newest(&world.engine);
    world
        .sim
        .refuse(|op| matches!(op, Op::File(FileOp::MakeFilesystem { .. })));
    let request = crate::world::request("web", false, true);
    let error = world.engine.create(&request, &|_| {}).unwrap_err();
    let events = after(&world.engine, seq);
    assert_eq!(ends(&events, Verb::Create), failed(error));
    assert!(matches!(
        events
            .iter()
            .rev()
            .find(|it| !matches!(it.change, Change::Operation(_)))
            .unwrap()
            .change,
        Change::Deleted { .. }
    ));
}

#[test]
fn an_operation_that_panics_has_an_end() {
    let world = World::new();
    let seq = newest(&world.engine);
    world
        .sim
        .refuse(|op| matches!(op, Op::File(FileOp::MakeFilesystem { .. })) && panic!("as asked"));
    let engine = world.engine.clone();
    let thread = std::thread::spawn(move || {
        let request = crate::world::request("web", false, true);
        engine.create(&request, &|_| {})
    });
    thread.join().unwrap_err();
    let events = after(&world.engine, seq);
    let [OperationState::Failed { error }] = &ends(&events, Verb::Create)[..] else {
        panic!("{events:?}");
    };
    assert_eq!(error.code, Code::Internal);
    let Change::Snapshot(snapshot) = &world.engine.events(None, Duration::ZERO)[0].change else {
        panic!("a snapshot was asked for");
    };
    assert_eq!(snapshot.operations, []);
}

#[test]
fn a_stop_of_all_is_an_operation_on_each_vm() {
    let world = World::new();
    world.create("one", false, true);
    world.create("two", false, true);
    let seq = newest(&world.engine);
    let request = StopAllVms::default();
    world.engine.stop_all(&request, &|_| {}).unwrap();
    let events = after(&world.engine, seq);
    let done = [OperationState::Done, OperationState::Done];
    assert_eq!(ends(&events, Verb::Stop), done);
    let mut names: Vec<String> = operations(&events)
        .iter()
        .filter(|it| it.state == OperationState::Done)
        .map(|it| it.name.as_ref().unwrap().to_string())
        .collect();
    names.sort();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn a_reader_that_is_too_far_behind_is_given_a_snapshot() {
    let world = World::new();
    world.create("calm-otter", false, false);
    let seq = newest(&world.engine);
    let name = named("calm-otter");
    let request = StopVm::default();
    // Each operation has events for its beginning and its end.
    for _ in 0..KEPT_EVENTS / 2 {
        world.engine.stop(&name, &request, &|_| {}).unwrap();
    }
    let kept = world.engine.events(Some(seq), Duration::ZERO);
    assert_eq!(kept[0].seq, seq + 1, "all of them are kept");
    world.engine.stop(&name, &request, &|_| {}).unwrap();
    let [event] = &world.engine.events(Some(seq), Duration::ZERO)[..] else {
        panic!("one snapshot");
    };
    let Change::Snapshot(snapshot) = &event.change else {
        panic!("{event:?}");
    };
    assert_eq!(snapshot.missed, Some(KEPT_EVENTS as u64 + 2));
    assert_eq!(event.seq, seq + KEPT_EVENTS as u64 + 2);
    assert_eq!(snapshot.vms, world.engine.list());
}

#[test]
fn a_later_daemon_begins_at_a_higher_number_and_knows_its_vms() {
    let mut world = World::new();
    world.create("calm-otter", false, true);
    let seq = newest(&world.engine);
    world.restart();
    let event = world.engine.events(Some(seq), Duration::ZERO).remove(0);
    assert!(event.seq > seq);
    let Change::Snapshot(snapshot) = event.change else {
        panic!("{event:?}");
    };
    assert!(snapshot.missed.is_some());
    assert_eq!(snapshot.vms, world.engine.list());
}

#[test]
fn a_reader_that_waits_is_woken_by_an_event_and_by_the_end_of_the_daemon() {
    let world = World::new();
    let seq = newest(&world.engine);
    let long = Duration::from_secs(600);
    let read = |seq| {
        let engine = world.engine.clone();
        std::thread::spawn(move || engine.events(Some(seq), long))
    };
    let reader = read(seq);
    world.create("calm-otter", false, false);
    assert_eq!(reader.join().unwrap()[0].seq, seq + 1);
    let reader = read(newest(&world.engine));
    world.engine.shut_down();
    assert_eq!(reader.join().unwrap(), []);
}

/// The guard and a verb publish one VM at the same time: the newest event still has its newest
/// state.
#[test]
fn views_never_go_back_and_the_last_is_what_a_list_shows() {
    let world = World::new();
    let engine = &world.engine;
    let names = ["one", "two", "three"];
    for name in names {
        world.create(name, true, true);
    }
    let mut seq = newest(engine);
    let mut known: BTreeMap<VmId, VmView> = BTreeMap::new();
    let mut went_back = false;
    let mut read = || {
        for event in after(engine, seq) {
            seq = event.seq;
            let views = match event.change {
                Change::Vm(vm) => vec![*vm],
                Change::Snapshot(snapshot) => snapshot.vms,
                Change::Deleted { .. } | Change::Operation(_) => Vec::new(),
            };
            for vm in views {
                let memory = |vm: &VmView| vm.pending.as_ref().map(|it| it.memory);
                let before = known.insert(vm.id, vm.clone());
                went_back |= before.is_some_and(|it| memory(&it) > memory(&vm));
            }
        }
        (known.clone(), went_back)
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for work in [Engine::guard, Engine::watch_machines] {
            scope.spawn(move || work(engine));
        }
        for name in names {
            let is_over = &is_over;
            scope.spawn(move || {
                for mib in (2049..).take_while(|_| !is_over.load(Ordering::SeqCst)) {
                    let request = VmSpecPatch {
                        memory: Some(Mib(mib)),
                        ..VmSpecPatch::default()
                    };
                    engine.set(&named(name), &request, &|_| {}).unwrap();
                }
            });
        }
        for free in [10, 1 << 20, 10, 1 << 20] {
            world.sim.set_free_mib(free);
            let deadline = Instant::now() + Duration::from_secs(20);
            let is_due = |vm: &VmView| vm.paused != (free == 10);
            while engine.list().iter().any(is_due) && Instant::now() < deadline {
                read();
            }
        }
        is_over.store(true, Ordering::SeqCst);
        engine.shut_down();
    });
    let (known, went_back) = read();
    assert!(!went_back);
    let known: Vec<VmView> = known.into_values().collect();
    let mut listed = engine.list();
    listed.sort_by_key(|vm| vm.id);
    assert_eq!(known, listed);
}
