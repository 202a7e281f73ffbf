//! Files of this host, and what is kept.

use std::sync::mpsc;
use std::thread;

use super::server::{Server, cut, reply, whole};
use super::*;

#[test]
fn a_file_is_taken_by_its_path_and_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a file");
    std::fs::write(&path, content()).unwrap();
    let path = path.to_str().unwrap();
    World::new().succeed(&from(&[path]));
    let address = format!("file://{}", path.replace(' ', "%20"));
    World::new().succeed(&from(&[&address]));
}

#[test]
fn a_file_that_is_not_what_was_wanted_is_not_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let source = path.to_str().unwrap();
    let mut world = World::new();
    let told = world.fail(&from(&[source]));
    assert!(told.contains("No such file"), "{told}");
    std::fs::write(&path, b"something else").unwrap();
    let told = world.fail(&from(&[source]));
    assert!(told.contains("another SHA-256"), "{told}");
    std::fs::write(&path, vec![0; 3 << 20]).unwrap();
    let told = world.fail(&from(&[source]));
    assert!(told.contains("more than the 2097152 bytes"), "{told}");
    let told = world.fail(&from(&["/dev/zero"]));
    assert!(told.contains("no regular file"), "{told}");
    let told = world.fail(&from(&[]));
    assert!(told.contains("no source"), "{told}");
}

#[test]
fn what_is_there_is_not_downloaded_again_unless_it_is_damaged() {
    let server = Server::of(content());
    let wanted = from(&[&server.url("/file")]);
    let mut world = World::new();
    world.succeed(&wanted);
    world.succeed(&wanted);
    assert_eq!(server.requests().len(), 1);
    std::fs::write(world.whole(&wanted), b"damaged").unwrap();
    world.succeed(&wanted);
    assert_eq!(server.requests().len(), 2);
    assert!(world.heard.iter().any(|it| it.contains("is damaged")));
}

#[test]
fn a_download_that_was_ended_goes_on_where_it_was() {
    let server = Server::start(|number, request, stream| match number {
        0 => cut(stream, content(), 500_000, "\"v1\""),
        1 | 2 => reply(stream, "503 Service Unavailable", "", b""),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    let wanted = from(&[&server.url("/file")]);
    let mut world = World::new();
    world.fail(&wanted);
    // As another process would.
    world.succeed(&wanted);
    let last = server.requests().pop().unwrap();
    assert_eq!(last.from(), 500_000);
    assert_eq!(last.header("if-range"), Some("\"v1\""));
}

#[test]
fn two_at_once_download_it_once() {
    let server = Server::of(content());
    let wanted = from(&[&server.url("/file")]);
    let world = World::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cancel = Cancel::default();
                let path = world
                    .downloads
                    .fetch(&wanted, &cancel, &mut |_| {})
                    .unwrap();
                assert!(std::fs::read(path).unwrap() == content());
            });
        }
    });
    assert_eq!(server.requests().len(), 1);
    assert_eq!(world.files(), [wanted.sha256.as_str()]);
}

#[test]
fn a_download_is_cancelled_while_it_waits_for_the_server() {
    let server = Server::start(|_, _, stream| {
        cut(stream, content(), 500_000, "\"v1\"");
        // Says no more until the client goes.
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let wanted = from(&[&server.url("/file")]);
    let folder = tempfile::tempdir().unwrap();
    let downloads = Downloads::new(folder.path(), Proxies::default());
    let cancel = Cancel::default();
    let (some, came) = mpsc::channel();
    let began = std::time::Instant::now();
    let error = thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            downloads.fetch(&wanted, &cancel, &mut |it| {
                if matches!(it, Progress::Bytes { have: 500_000, .. }) {
                    let _ = some.send(());
                }
            })
        });
        came.recv().unwrap();
        cancel.cancel();
        fetching.join().unwrap().unwrap_err()
    });
    assert!(error.to_string().contains("cancelled"), "{error}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "the stall limit ended it"
    );
    assert!(downloads.fetch(&wanted, &cancel, &mut |_| {}).is_err());
}

#[test]
fn what_nobody_asks_for_goes_after_a_while() {
    let mut world = World::new();
    let old = std::time::SystemTime::now() - Duration::from_secs(61 * 24 * 3600);
    for name in ["unused", "abandoned.part", "abandoned.origin"] {
        let file = std::fs::File::create(world.folder.path().join(name)).unwrap();
        file.set_modified(old).unwrap();
    }
    let server = Server::of(content());
    world.succeed(&from(&[&server.url("/file")]));
}
