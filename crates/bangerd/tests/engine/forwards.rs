//! Forwards that the daemon holds: what listens is what the record says, across runs and daemons.

mod reserved;
mod reverse;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use banger_api::{
    AddForwards, CloneVm, Code, DeleteVm, Endpoint, Forward, ForwardState, ForwardView, KillVm,
    RemoveForwards, RenameVm, StopVm, UndeleteVm, VmSpecPatch,
};
use banger_host::Sim;
use bangerd::config::Config;

use crate::world::{World, named};

const PATIENCE: Duration = Duration::from_secs(30);

/// A world whose engine holds forwards, with a VM that runs.
fn world() -> World {
    let world = World::new();
    world.engine.hold_forwards();
    world.create("web", true, true);
    world
}

/// The same, with a trash.
fn world_with_trash() -> World {
    let config = Config {
        trash: true,
        ..Config::default()
    };
    let world = World::configured(Sim::new(), config);
    world.engine.hold_forwards();
    world.create("web", true, true);
    world
}

fn forward(listen: &str, target: &str) -> Forward {
    Forward {
        listen: listen.parse().unwrap(),
        target: target.parse().unwrap(),
        reverse: false,
    }
}

fn add(
    world: &World,
    vm: &str,
    forwards: &[Forward],
    keep: bool,
) -> banger_api::Result<Vec<ForwardView>> {
    let forwards = forwards.to_vec();
    let request = AddForwards { forwards, keep };
    world.engine.add_forwards(&named(vm), &request, &|_| {})
}

fn remove(world: &World, request: &RemoveForwards) -> banger_api::Result<Vec<ForwardView>> {
    world
        .engine
        .remove_forwards(&named("web"), request, &|_| {})
}

fn views(world: &World) -> Vec<ForwardView> {
    world.engine.forwards(&named("web")).unwrap()
}

fn states(world: &World) -> Vec<ForwardState> {
    views(world).iter().map(|it| it.state).collect()
}

fn stop(world: &World) {
    let request = StopVm::default();
    world.engine.stop(&named("web"), &request, &|_| {}).unwrap();
}

/// What comes back through a port; nothing if it is closed or refused.
fn echo(listen: &Endpoint) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(listen.to_string()) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(b"hello");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_forward_ends_with_its_run_and_a_kept_one_comes_back() {
    let world = world();
    let passing = add(&world, "web", &[forward("127.0.0.1:0", "80")], false).unwrap();
    let kept = add(&world, "web", &[forward("localhost:0", "81")], true).unwrap();
    let (passing, kept) = (passing[0].listen.clone(), kept[0].listen.clone());
    assert!(kept.to_string().starts_with("127.0.0.1:"), "{kept}");
    assert_eq!(
        (echo(&passing), echo(&kept)),
        ("hello".into(), "hello".into())
    );
    stop(&world);
    assert_eq!(
        (echo(&passing), echo(&kept)),
        (String::new(), String::new())
    );
    assert_eq!(states(&world), [ForwardState::Waiting]);
    world.start("web").unwrap();
    assert_eq!(states(&world), [ForwardState::Listening]);
    assert_eq!(
        (echo(&passing), echo(&kept)),
        (String::new(), "hello".into())
    );
    // A run that is killed ends them, too.
    let kill = KillVm::default();
    world.engine.kill(&named("web"), &kill, &|_| {}).unwrap();
    assert_eq!(echo(&kept), "");
}

#[test]
fn the_next_daemon_listens_where_the_last_one_did() {
    let mut world = world();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s").display().to_string();
    let both = [forward("127.0.0.1:0", "80"), forward(&socket, "/run/s")];
    let listen = add(&world, "web", &both, false).unwrap()[0].listen.clone();
    world.engine.shut_down();
    assert_eq!(echo(&listen), "");
    // One that was killed leaves its socket.
    drop(UnixListener::bind(&socket).unwrap());
    world.restart();
    world.engine.hold_forwards();
    assert_eq!(states(&world), [ForwardState::Listening; 2]);
    assert_eq!(echo(&listen), "hello");
    world.engine.shut_down();
    assert!(!Path::new(&socket).exists());
}

/// A killed daemon leaves its sockets, and the run of its forward is over when the next one comes.
#[test]
fn a_socket_that_a_killed_daemon_left_is_removed_and_only_that() {
    let mut world = world();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (left, file, used) = (place("left"), place("file"), place("used"));
    let all = [&left, &file, &used].map(|listen| forward(listen, "80"));
    add(&world, "web", &all, false).unwrap();
    world.engine.shut_down();
    drop(UnixListener::bind(&left).unwrap());
    std::fs::write(&file, "mine").unwrap();
    let listener = UnixListener::bind(&used).unwrap();
    world.sim.reboot();
    world.restart();
    world.engine.hold_forwards();
    assert!(views(&world).is_empty());
    assert!(!Path::new(&left).exists());
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert!(Path::new(&used).exists());
    drop(listener);
}

#[test]
fn a_fault_at_any_change_adds_or_removes_all_or_none() {
    for removes in [false, true] {
        for n in 0.. {
            let mut world = world();
            let kept = add(&world, "web", &[forward("127.0.0.1:0", "80")], true).unwrap();
            let before = views(&world);
            let changes = world.sim.changes();
            world.sim.fail_at(n);
            let outcome = if removes {
                let all = RemoveForwards {
                    forwards: vec![kept[0].forward()],
                    all: false,
                };
                remove(&world, &all)
            } else {
                add(&world, "web", &[forward("127.0.0.1:0", "81")], false)
            };
            let is_over = world.sim.changes() - changes <= n;
            world.sim.revive();
            let context = format!("the fault at change {n}, removes {removes}");
            if outcome.is_err() {
                assert_eq!(views(&world), before, "{context}");
                assert_eq!(echo(&kept[0].listen), "hello", "{context}");
            }
            // The record says the same to the next daemon.
            let now = views(&world);
            world.engine.shut_down();
            world.restart();
            world.engine.hold_forwards();
            assert_eq!(views(&world), now, "{context}");
            if is_over {
                assert!(outcome.is_ok() && n > 0, "{context}");
                break;
            }
        }
    }
}

#[test]
fn a_vm_in_the_trash_has_no_forwards_to_change() {
    let world = world_with_trash();
    let kept = add(&world, "web", &[forward("127.0.0.1:0", "80")], true).unwrap();
    let id = world.engine.show(&named("web")).unwrap().id;
    let delete = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    let vm = named("web");
    world.engine.delete(&vm, &delete, &|_| {}).unwrap();
    let rule = vec![kept[0].forward()];
    let add = AddForwards {
        forwards: rule.clone(),
        keep: true,
    };
    let by_id = id.into();
    let error = world
        .engine
        .add_forwards(&by_id, &add, &|_| {})
        .unwrap_err();
    assert_eq!(error.code, Code::NotFound, "{error:?}");
    let remove = RemoveForwards {
        forwards: rule,
        all: false,
    };
    world
        .engine
        .remove_forwards(&by_id, &remove, &|_| {})
        .unwrap_err();
}

#[test]
fn forwards_are_removed_by_what_they_are() {
    let world = world();
    let rules = ["80", "81", "82"].map(|target| forward("127.0.0.1:0", target));
    let added = add(&world, "web", &rules, true).unwrap();
    let stranger = RemoveForwards {
        forwards: vec![added[0].forward(), forward("127.0.0.1:1", "80")],
        all: false,
    };
    assert_eq!(remove(&world, &stranger).unwrap_err().code, Code::NotFound);
    assert!(
        remove(&world, &RemoveForwards::default())
            .unwrap()
            .is_empty()
    );
    assert_eq!(views(&world).len(), 3);
    let one = RemoveForwards {
        forwards: vec![added[0].forward()],
        all: false,
    };
    assert_eq!(remove(&world, &one).unwrap(), added[..1]);
    assert_eq!(echo(&added[0].listen), "");
    assert_eq!(echo(&added[1].listen), "hello");
    let all = RemoveForwards {
        all: true,
        ..RemoveForwards::default()
    };
    assert_eq!(remove(&world, &all).unwrap(), added[1..]);
    assert!(remove(&world, &all).unwrap().is_empty());
    assert_eq!(echo(&added[1].listen), "");
}

#[test]
fn a_passing_forward_becomes_a_kept_one() {
    let world = world();
    let passing = add(&world, "web", &[forward("127.0.0.1:0", "80")], false).unwrap();
    let kept = add(&world, "web", &[passing[0].forward()], true).unwrap();
    assert!(!passing[0].kept && kept[0].kept);
    assert_eq!(views(&world), kept);
    stop(&world);
    let error = add(&world, "web", &[forward("127.0.0.1:0", "81")], false).unwrap_err();
    assert!(error.report().contains("--keep"), "{error:?}");
    // Without a run it is only tried, and its port is chosen.
    let later = add(&world, "web", &[forward("127.0.0.1:0", "81")], true).unwrap();
    assert_eq!(later[0].state, ForwardState::Waiting);
    assert!(!matches!(later[0].listen, Endpoint::Tcp(_, 0)));
    world.start("web").unwrap();
    assert_eq!(echo(&later[0].listen), "hello");
}

#[test]
fn forwards_stay_with_their_vm() {
    let world = world_with_trash();
    let kept = add(&world, "web", &[forward("127.0.0.1:0", "80")], true).unwrap();
    let listen = kept[0].listen.clone();
    let rename = RenameVm {
        name: "shop".to_owned(),
    };
    world
        .engine
        .rename(&named("web"), &rename, &|_| {})
        .unwrap();
    assert_eq!(echo(&listen), "hello");
    let rename = RenameVm {
        name: "web".to_owned(),
    };
    world
        .engine
        .rename(&named("shop"), &rename, &|_| {})
        .unwrap();
    stop(&world);
    let clone = CloneVm {
        name: "copy".to_owned(),
        spec: VmSpecPatch::default(),
    };
    world
        .engine
        .clone_of(&named("web"), &clone, &|_| {})
        .unwrap();
    assert!(world.engine.forwards(&named("copy")).unwrap().is_empty());
    world.start("web").unwrap();
    let delete = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    world
        .engine
        .delete(&named("web"), &delete, &|_| {})
        .unwrap();
    assert_eq!(echo(&listen), "");
    world.engine.forwards(&named("web")).unwrap_err();
    let undelete = UndeleteVm::default();
    world
        .engine
        .undelete(&named("web"), &undelete, &|_| {})
        .unwrap();
    world.start("web").unwrap();
    assert_eq!(echo(&listen), "hello");
}

#[test]
fn there_is_an_end_to_forwards() {
    let world = world();
    let many = vec![forward("127.0.0.1:0", "80"); 65];
    let error = add(&world, "web", &many, false).unwrap_err();
    assert!(error.report().contains("at most 64"), "{error:?}");
    assert!(views(&world).is_empty());
    add(&world, "web", &many[..64], false).unwrap();
    add(&world, "web", &many[..1], true).unwrap_err();
    add(&world, "web", &[forward("127.0.0.1:0", "0")], true).unwrap_err();
}
