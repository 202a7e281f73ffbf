//! The watch, when a repair fails or is slow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use banger_host::{FileOp, Op, RootOp};

use crate::world::{World, request};

#[test]
fn what_cannot_be_put_right_is_tried_ever_more_seldom() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    world.sim.refuse(move |op| {
        let is_ours = matches!(op, Op::Root(_, RootOp::MakeTap(_)));
        counted.fetch_add(usize::from(is_ours), Ordering::SeqCst);
        is_ours
    });
    world.sim.tamper(|state| state.tables.clear());
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| world.engine.watch());
        while began.elapsed() < Duration::from_millis(3500) {
            world.sim.tamper(|state| state.tables.clear());
            std::thread::yield_now();
        }
        world.engine.shut_down();
    });
    let tries = tries.load(Ordering::SeqCst);
    assert!((1..=3).contains(&tries), "{tries} in 3.5 s");
}

#[test]
fn dns_answers_do_not_wait_for_the_disk() {
    let world = World::new();
    world.create("calm-otter", true, false);
    let (reached, at_the_disk) = channel();
    let (sender, receiver) = channel::<()>();
    let receiver = Mutex::new(receiver);
    world.sim.refuse(move |op| {
        let is_record =
            matches!(op, Op::File(FileOp::WriteFile { path, .. }) if path.ends_with("vm.json"));
        if is_record && reached.send(()).is_ok() {
            // Blocks like a slow fsync.
            let _ = receiver
                .lock()
                .unwrap()
                .recv_timeout(Duration::from_secs(20));
        }
        false
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let made = world
                .engine
                .create(&request("brave-lynx", true, false), &|_| {});
            made.unwrap();
        });
        at_the_disk.recv().unwrap();
        let began = Instant::now();
        assert!(world.engine.address_of("calm-otter").is_some());
        assert!(
            world.engine.address_of("brave-lynx").is_some(),
            "it is taken"
        );
        assert!(began.elapsed() < Duration::from_secs(5));
        drop(sender);
    });
}
