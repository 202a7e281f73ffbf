//! Ports of the host that another VM or program has.

use super::*;

#[test]
fn a_port_that_is_taken_is_refused_at_once_and_told_at_a_start() {
    let world = world();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let both = [forward("127.0.0.1:0", "80"), forward(&place, "80")];
    let error = add(&world, "web", &both, true).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(error.report().contains("is in use"), "{error}");
    assert!(views(&world).is_empty(), "all of them or none");
    drop(taken);
    add(&world, "web", &both[1..], true).unwrap();
    stop(&world);
    let taken = TcpListener::bind(&place).unwrap();
    let view = world.start("web").unwrap();
    assert_eq!(states(&world), [ForwardState::Failed]);
    assert!(
        view.notes.iter().any(|note| note.contains(&place)),
        "{view:?}"
    );
    drop(taken);
    // The watch tries it again.
    let engine = world.engine.clone();
    let watch = std::thread::spawn(move || engine.watch());
    until("it listens again", || {
        states(&world) == [ForwardState::Listening]
    });
    assert_eq!(echo(&place.parse().unwrap()), "hello");
    world.engine.shut_down();
    watch.join().unwrap();
}

#[test]
fn another_vms_forward_is_named_where_it_is_in_the_way() {
    let world = world();
    world.create("db", true, true);
    let first = add(&world, "web", &[forward("127.0.0.1:0", "80")], true).unwrap();
    let same = first[0].forward();
    let error = add(&world, "db", std::slice::from_ref(&same), false).unwrap_err();
    assert!(
        error.report().contains("`web` has a forward of"),
        "{error:?}"
    );
    let other = Forward {
        target: "81".parse().unwrap(),
        ..same.clone()
    };
    let error = add(&world, "web", &[other], false).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    // The same one once more is there already.
    assert_eq!(add(&world, "web", &[same], false).unwrap(), first);
    assert_eq!(views(&world), first);
}

#[test]
fn a_kept_forward_of_a_stopped_vm_has_its_port() {
    let mut world = world();
    world.create("db", true, true);
    let kept = add(&world, "web", &[forward("127.0.0.1:0", "80")], true).unwrap();
    let same = kept[0].forward();
    let Endpoint::Tcp(_, port) = same.listen else {
        panic!("{same}");
    };
    let any = forward(&format!("0.0.0.0:{port}"), "81");
    stop(&world);
    for _ in 0..2 {
        for wanted in [&same, &any] {
            for keep in [false, true] {
                let error = add(&world, "db", std::slice::from_ref(wanted), keep).unwrap_err();
                assert_eq!(error.code, Code::Conflict);
                let report = error.report();
                assert!(report.contains("`web` has a forward of"), "{report}");
            }
        }
        // The next daemon says the same.
        world.engine.shut_down();
        world.restart();
        world.engine.hold_forwards();
    }
    assert_eq!(states(&world), [ForwardState::Waiting]);
    remove(
        &world,
        &RemoveForwards {
            all: true,
            ..RemoveForwards::default()
        },
    )
    .unwrap();
    add(&world, "db", &[same], true).unwrap();
}

/// What is in the trash has no port, so two records may have the same one.
#[test]
fn a_vm_from_the_trash_whose_port_is_anothers_says_so_and_gets_it_when_it_is_free() {
    let world = world_with_trash();
    world.create("db", true, true);
    let kept = add(&world, "web", &[forward("127.0.0.1:0", "80")], true).unwrap();
    let same = kept[0].forward();
    let delete = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    world
        .engine
        .delete(&named("web"), &delete, &|_| {})
        .unwrap();
    add(&world, "db", std::slice::from_ref(&same), true).unwrap();
    let undelete = UndeleteVm::default();
    let view = world
        .engine
        .undelete(&named("web"), &undelete, &|_| {})
        .unwrap();
    let tells = |notes: &[String], other: &str| {
        let text = format!("is also a forward of `{other}`");
        notes.iter().any(|note| note.contains(&text))
    };
    assert!(tells(&view.notes, "db"), "{view:?}");
    let db = world.engine.show(&named("db")).unwrap();
    assert!(tells(&db.notes, "web"), "{db:?}");
    let view = world.start("web").unwrap();
    assert_eq!(states(&world), [ForwardState::Failed]);
    assert!(tells(&view.notes, "db"), "{view:?}");
    let rule = RemoveForwards {
        forwards: vec![same.clone()],
        all: false,
    };
    world
        .engine
        .remove_forwards(&named("db"), &rule, &|_| {})
        .unwrap();
    let engine = world.engine.clone();
    let watch = std::thread::spawn(move || engine.watch());
    until("it listens", || states(&world) == [ForwardState::Listening]);
    assert_eq!(echo(&same.listen), "hello");
    assert!(!tells(
        &world.engine.show(&named("web")).unwrap().notes,
        "db"
    ));
    world.engine.shut_down();
    watch.join().unwrap();
}

#[test]
fn one_of_two_vms_that_want_a_port_at_once_has_it() {
    let world = world();
    world.create("db", true, false);
    stop(&world);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = free.local_addr().unwrap().to_string();
    drop(free);
    let wanted = [forward(&place, "80")];
    let outcomes = std::thread::scope(|scope| {
        let (world, wanted) = (&world, &wanted);
        let both = ["web", "db"].map(|vm| scope.spawn(move || add(world, vm, wanted, true)));
        both.map(|it| it.join().unwrap().is_ok())
    });
    assert_eq!(outcomes.iter().filter(|it| **it).count(), 1, "{outcomes:?}");
}
