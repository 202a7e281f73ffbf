//! Forwards of guests that listen.

use std::io::Read as _;
use std::net::TcpListener;

use banger_api::{Forward, ForwardState, RemoveForwards};

use super::{add, forward, remove, states, stop, until, views, world};
use crate::world::named;

fn reverse(listen: &str, target: &str) -> Forward {
    Forward {
        reverse: true,
        ..forward(listen, target)
    }
}

/// A service of the host, and what the next client says to it.
fn service() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    });
    (place, heard)
}

#[test]
fn a_guest_reaches_the_service_that_was_named() {
    let mut world = world();
    let (place, heard) = service();
    let added = add(&world, "web", &[reverse("0", &place)], true).unwrap();
    // The simulated guest's choice.
    assert_eq!(added[0].listen.to_string(), "127.0.0.1:40000");
    assert_eq!(added[0].state, ForwardState::Listening);
    assert_eq!(heard.join().unwrap(), "hello from the guest");
    let error = add(&world, "web", &[reverse("1", &place)], false).unwrap_err();
    assert!(
        error.report().contains("port 1 of the guest is in use"),
        "{error:?}"
    );
    // The guest listens again after a restart, and with the next daemon.
    stop(&world);
    assert_eq!(states(&world), [ForwardState::Waiting]);
    let late = reverse("0", &place);
    let error = add(&world, "web", &[late], true).unwrap_err();
    assert!(error.report().contains("name a port"), "{error:?}");
    world.start("web").unwrap();
    until("it listens again", || {
        states(&world) == [ForwardState::Listening]
    });
    world.engine.shut_down();
    world.restart();
    world.engine.hold_forwards();
    until("the next daemon has it listen", || {
        states(&world) == [ForwardState::Listening]
    });
    let all = RemoveForwards {
        all: true,
        ..RemoveForwards::default()
    };
    assert_eq!(remove(&world, &all).unwrap().len(), 1);
}

#[test]
fn a_guest_that_does_not_listen_at_a_start_is_told_and_asked_again() {
    let world = world();
    stop(&world);
    add(&world, "web", &[reverse("1", "80")], true).unwrap();
    world.start("web").unwrap();
    until("it has failed", || states(&world) == [ForwardState::Failed]);
    let reason = views(&world)[0].reason.clone().unwrap();
    assert!(reason.contains("in use"), "{reason}");
    let notes = world.engine.show(&named("web")).unwrap().notes;
    assert!(
        notes.iter().any(|note| note.contains("-R 127.0.0.1:1")),
        "{notes:?}"
    );
    world.engine.shut_down();
}
