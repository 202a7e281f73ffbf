//! Concurrent verbs.

use std::sync::{Arc, Barrier};

use banger_api::{Code, KillVm, Phase, StartVm, StopVm};
use banger_host::Look as _;

use crate::world::{World, error_text, named, request};

#[test]
fn of_ten_creates_of_one_name_one_wins() {
    let world = World::new();
    let barrier = Arc::new(Barrier::new(10));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let (engine, barrier) = (world.engine.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                engine.create(&request("calm-otter", false, false), &|_| {})
            })
        })
        .collect();
    let outcomes: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
    assert_eq!(outcomes.iter().filter(|it| it.is_ok()).count(), 1);
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(error.code, Code::Conflict, "{error}");
    }
    assert_eq!(world.engine.list().len(), 1);
}

#[test]
fn a_hundred_vms_start_and_stop_at_once_and_never_meet() {
    let world = World::new();
    let empty = world.run_time();
    let threads: Vec<_> = (0..100)
        .map(|n| {
            let engine = world.engine.clone();
            std::thread::spawn(move || {
                engine
                    .create(&request(&format!("vm-{n}"), n % 2 == 0, true), &|_| {})
                    .unwrap()
            })
        })
        .collect();
    let mut addresses: Vec<_> = threads
        .into_iter()
        .map(|it| it.join().unwrap().address.unwrap())
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 100);
    let threads: Vec<_> = (0..100)
        .map(|n| {
            let engine = world.engine.clone();
            std::thread::spawn(move || {
                engine
                    .stop(&named(&format!("vm-{n}")), &StopVm::default(), &|_| {})
                    .unwrap()
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(world.run_time(), empty);
}

#[test]
fn verbs_on_one_vm_are_serialised_and_each_gets_a_true_answer() {
    let world = World::new();
    world.create("calm-otter", true, false);
    let threads: Vec<_> = (0..16)
        .map(|n| {
            let engine = world.engine.clone();
            std::thread::spawn(move || {
                let vm = named("calm-otter");
                if n % 2 == 0 {
                    engine.start(&vm, &StartVm::default(), &|_| {}).map(drop)
                } else {
                    engine.stop(&vm, &StopVm::default(), &|_| {}).map(drop)
                }
            })
        })
        .collect();
    for thread in threads {
        if let Err(error) = thread.join().unwrap() {
            assert_eq!(error.code, Code::Busy, "{error}");
            assert!(
                error
                    .hints
                    .iter()
                    .any(|hint| hint.contains("banger vm show")),
                "{error:?}"
            );
        }
    }
    let vm = world.engine.show(&named("calm-otter")).unwrap();
    let processes = world.run_time().processes.len();
    match vm.phase {
        Phase::Running => assert_eq!(processes, 1),
        Phase::Stopped => assert_eq!(processes, 0),
        other => panic!("it is {other}"),
    }
}

#[test]
fn starts_wait_their_turn_and_one_that_waits_can_be_killed() {
    let world = World::new();
    let most = 4 * world.sim.cpus() as usize;
    let names: Vec<String> = (0..most + 2).map(|n| format!("vm-{n}")).collect();
    for name in &names {
        world.create(name, false, false);
    }
    let (seen, steps) = std::sync::mpsc::channel();
    let go = Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
    let threads: Vec<_> = names
        .iter()
        .map(|name| {
            let (engine, name, seen, go) =
                (world.engine.clone(), name.clone(), seen.clone(), go.clone());
            std::thread::spawn(move || {
                let heard = |progress: banger_api::Progress| {
                    if progress.seconds.is_some() {
                        return;
                    }
                    let is_boot = progress.step == "boot";
                    if is_boot || progress.step == "wait for its turn" {
                        seen.send((name.clone(), is_boot)).unwrap();
                    }
                    if is_boot {
                        let open = go.0.lock().unwrap();
                        drop(go.1.wait_while(open, |open| !*open).unwrap());
                    }
                };
                engine.start(&named(&name), &StartVm::default(), &heard)
            })
        })
        .collect();
    let seen: Vec<(String, bool)> = steps.iter().take(most + 2).collect();
    assert_eq!(seen.iter().filter(|(_, is_boot)| *is_boot).count(), most);
    let (waiting, _) = seen.iter().find(|(_, is_boot)| !is_boot).unwrap();
    let killed = world
        .engine
        .kill(&named(waiting), &KillVm::default(), &|_| {})
        .unwrap();
    assert_eq!(killed.vm.phase, Phase::Stopped);
    *go.0.lock().unwrap() = true;
    go.1.notify_all();
    let outcomes: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
    let failed: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        error_text(&failed[0]).contains("killed"),
        "{}",
        error_text(&failed[0])
    );
}
