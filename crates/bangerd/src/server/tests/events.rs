//! The events, as clients follow them.

use std::sync::mpsc::{Receiver, channel};

use banger_api::client::{CancelToken, Client};
use banger_api::{Change, Event, Operation, OperationState, Verb};

use super::*;
use crate::engine::KEPT_EVENTS;

/// A client that reads events on a thread of its own.
struct Follower {
    token: CancelToken,
    events: Receiver<Event>,
    thread: std::thread::JoinHandle<()>,
}

fn follow(client: Client, since: Option<u64>) -> Follower {
    let (send_token, token) = channel();
    let (send, events) = channel();
    let thread = std::thread::spawn(move || {
        let events = client.events(since).unwrap();
        send_token.send(events.token()).unwrap();
        for event in events {
            // An error means the end of the daemon.
            let Ok(event) = event else { return };
            send.send(event).unwrap();
        }
    });
    Follower {
        token: token.recv_timeout(world::LONG).unwrap(),
        events,
        thread,
    }
}

impl Follower {
    fn next(&self) -> Event {
        self.events.recv_timeout(world::LONG).unwrap()
    }

    /// All events up to the one that `is_last` picks.
    fn until(&self, is_last: impl Fn(&Change) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            events.push(self.next());
            if is_last(&events.last().unwrap().change) {
                return events;
            }
        }
    }

    fn cancel(self) {
        self.token.cancel();
        self.thread.join().unwrap();
    }
}

fn is_end_of(verb: Verb) -> impl Fn(&Change) -> bool {
    move |change| match change {
        Change::Operation(operation) => {
            operation.verb == verb && operation.state == OperationState::Done
        }
        _ => false,
    }
}

/// The VMs after these events, of which none may be missing.
fn replay(events: &[Event]) -> Vec<VmView> {
    let mut vms: Vec<VmView> = Vec::new();
    let mut last: Option<u64> = None;
    for event in events {
        match &event.change {
            Change::Snapshot(snapshot) => vms.clone_from(&snapshot.vms),
            _ => assert_eq!(Some(event.seq - 1), last, "{events:?}"),
        }
        match &event.change {
            Change::Vm(vm) => {
                vms.retain(|it| it.id != vm.id);
                vms.push((**vm).clone());
            }
            Change::Deleted { id, .. } => vms.retain(|it| it.id != *id),
            Change::Snapshot(_) | Change::Operation(_) => {}
        }
        last = Some(event.seq);
    }
    vms.sort_by(|a, b| a.name.cmp(&b.name));
    vms
}

#[test]
fn two_clients_read_the_same_from_a_snapshot_to_the_end_of_a_verb() {
    let server = TestServer::with_vm();
    let followers = [0, 1].map(|_| follow(server.client(), None));
    let heard = followers.map(|follower| {
        let first = follower.next();
        let Change::Snapshot(snapshot) = &first.change else {
            panic!("{first:?}");
        };
        assert_eq!(snapshot.vms, server.engine.list());
        assert_eq!(snapshot.missed, None);
        (follower, first)
    });
    // One verb comes from another client, and one bypasses the server.
    server.client().create(&named("web"), nothing).unwrap();
    let force = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    let otter = vm("calm-otter");
    server.engine.delete(&otter, &force, &nothing).unwrap();
    let [one, other] = heard.map(|(follower, first)| {
        let mut events = vec![first];
        events.extend(follower.until(is_end_of(Verb::Delete)));
        follower.cancel();
        events
    });
    assert_eq!(one[1..], other[1..]);
    assert_eq!(replay(&one), server.engine.list());
}

#[test]
fn one_client_follows_events_and_asks_from_another_thread() {
    let server = TestServer::new();
    let client = server.client();
    let events = client.events(None).unwrap();
    let token = events.token();
    let (send, receive) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for event in events {
                send.send(event.unwrap()).unwrap();
            }
        });
        for name in ["one", "two"] {
            client.create(&named(name), nothing).unwrap();
        }
        let one = vm("one");
        client.delete(&one, &DeleteVm::default(), nothing).unwrap();
        let listed = client.list().unwrap();
        let mut read: Vec<Event> = Vec::new();
        while !read
            .last()
            .is_some_and(|it| is_end_of(Verb::Delete)(&it.change))
        {
            read.push(receive.recv_timeout(world::LONG).unwrap());
        }
        assert_eq!(replay(&read), listed);
        token.cancel();
    });
}

#[test]
fn a_client_that_reconnects_goes_on_where_it_was() {
    let server = TestServer::new();
    let follower = follow(server.client(), None);
    let mut events = vec![follower.next()];
    server.create("web");
    events.extend(follower.until(is_end_of(Verb::Create)));
    follower.cancel();
    let kill = KillVm::default();
    server.engine.kill(&vm("web"), &kill, &nothing).unwrap();
    let follower = follow(server.client(), Some(events.last().unwrap().seq));
    events.extend(follower.until(is_end_of(Verb::Kill)));
    let snapshots = events.iter();
    let snapshots = snapshots.filter(|it| matches!(it.change, Change::Snapshot(_)));
    assert_eq!(snapshots.count(), 1);
    assert_eq!(replay(&events), server.engine.list());
    follower.cancel();
}

#[test]
fn a_client_that_comes_back_to_another_daemon_gets_a_snapshot_that_says_so() {
    let server = TestServer::with_vm();
    let follower = follow(server.client(), None);
    let before = follower.next().seq;
    let sim = server.sim.clone();
    drop(server);
    follower.thread.join().unwrap();
    let server = TestServer::on(sim);
    let follower = follow(server.client(), Some(before));
    let first = follower.next();
    assert!(first.seq > before);
    let Change::Snapshot(snapshot) = first.change else {
        panic!("{first:?}");
    };
    assert!(snapshot.missed.is_some());
    assert_eq!(snapshot.vms, server.engine.list());
    follower.cancel();
}

#[test]
fn a_slow_client_delays_no_one_and_learns_what_it_missed() {
    let server = TestServer::with_vm();
    let client = server.client();
    let mut events = client.events(None).unwrap();
    let first = events.next().unwrap().unwrap();
    // More than the ring, the queue and the socket's buffer hold.
    let turn = |nat| VmSpecPatch {
        nat: Some(nat),
        ..VmSpecPatch::default()
    };
    let otter = vm("calm-otter");
    let mut made = 0;
    while made < 4 * KEPT_EVENTS as u64 {
        for nat in [true, false] {
            server.engine.set(&otter, &turn(nat), &nothing).unwrap();
        }
        let newest = server.engine.events(None, Duration::ZERO);
        made = newest[0].seq - first.seq;
    }
    let mut read = vec![first];
    let missed = loop {
        let event = events.next().unwrap().unwrap();
        read.push(event.clone());
        if let Change::Snapshot(snapshot) = event.change {
            break snapshot.missed.unwrap();
        }
    };
    let [.., before, snapshot] = read.as_slice() else {
        panic!("{read:?}");
    };
    assert_eq!(snapshot.seq, before.seq + missed);
    assert!(missed > KEPT_EVENTS as u64, "{missed}");
    // From here on the reader misses nothing.
    let last = server.engine.events(None, Duration::ZERO)[0].seq;
    while read.last().unwrap().seq < last {
        read.push(events.next().unwrap().unwrap());
    }
    assert_eq!(replay(&read), server.engine.list());
}

#[test]
fn an_operation_under_way_is_in_the_snapshot_of_a_client_that_comes_later() {
    let server = TestServer::new();
    let gate = Gate::new(&server.sim);
    std::thread::scope(|scope| {
        let client = server.client();
        scope.spawn(move || client.create(&named("web"), nothing).unwrap());
        eventually("the create is under way", || gate.arrived() == 1);
        let follower = follow(server.client(), None);
        let Change::Snapshot(snapshot) = follower.next().change else {
            panic!("a snapshot comes first");
        };
        let [operation] = snapshot.operations.as_slice() else {
            panic!("{snapshot:?}");
        };
        let OperationState::Step(step) = &operation.state else {
            panic!("{operation:?}");
        };
        assert_eq!(
            (step.step.as_str(), step.seconds),
            ("create work disk", None)
        );
        assert_eq!(operation.vm, Some(snapshot.vms[0].id));
        gate.open();
        let end = follower.until(is_end_of(Verb::Create)).pop().unwrap();
        let Change::Operation(Operation { id, .. }) = end.change else {
            panic!("{end:?}");
        };
        assert_eq!(id, operation.id);
        follower.cancel();
    });
}

#[test]
fn a_stream_ends_at_once_when_its_reader_cancels_it() {
    let server = TestServer::new();
    let follower = follow(server.client(), None);
    follower.next();
    let begun = std::time::Instant::now();
    follower.cancel();
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.assert_serves();
}
