//! Sources on this host, and the cache.

use std::sync::mpsc;
use std::thread;

use super::server::{Server, cut, reply, whole};
use super::*;

#[test]
fn a_file_is_copied_from_a_path_and_a_file_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a file");
    std::fs::write(&path, content()).unwrap();
    let path = path.to_str().unwrap();
    World::new().succeed(&from(&[path]));
    let address = format!("file://{}", path.replace(' ', "%20"));
    World::new().succeed(&from(&[&address]));
}

#[test]
fn a_file_with_another_digest_is_not_returned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let source = path.to_str().unwrap();
    let mut world = World::new();
    let report = world.fail(&from(&[source]));
    assert!(report.contains("No such file"), "{report}");
    std::fs::write(&path, b"something else").unwrap();
    let report = world.fail(&from(&[source]));
    assert!(report.contains("SHA-256"), "{report}");
    std::fs::write(&path, vec![0; 3 << 20]).unwrap();
    let report = world.fail(&from(&[source]));
    assert!(report.contains("limit of 2097152 bytes"), "{report}");
    let report = world.fail(&from(&["/dev/zero"]));
    assert!(report.contains("not a regular file"), "{report}");
    let report = world.fail(&from(&[]));
    assert!(report.contains("no source"), "{report}");
}

#[test]
fn a_cached_file_is_downloaded_again_only_if_it_is_damaged() {
    let server = Server::of(content());
    let download = from(&[&server.url("/file")]);
    let mut world = World::new();
    world.succeed(&download);
    world.succeed(&download);
    assert_eq!(server.requests().len(), 1);
    std::fs::write(world.path(&download), b"damaged").unwrap();
    world.succeed(&download);
    assert_eq!(server.requests().len(), 2);
    assert!(world.progress.iter().any(|it| it.contains("is damaged")));
}

#[test]
fn an_interrupted_download_is_resumed() {
    let server = Server::start(|number, request, stream| match number {
        0 => cut(stream, content(), 500_000, "\"v1\""),
        1 | 2 => reply(stream, "503 Service Unavailable", "", b""),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    let download = from(&[&server.url("/file")]);
    let mut world = World::new();
    world.fail(&download);
    // As another process would.
    world.succeed(&download);
    let last = server.requests().pop().unwrap();
    assert_eq!(last.from(), 500_000);
    assert_eq!(last.header("if-range"), Some("\"v1\""));
}

#[test]
fn concurrent_fetches_download_once() {
    let server = Server::of(content());
    let download = from(&[&server.url("/file")]);
    let world = World::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cancel = CancelToken::default();
                let path = world
                    .downloads
                    .fetch(&download, &cancel, &mut |_| {})
                    .unwrap();
                assert!(std::fs::read(path).unwrap() == content());
            });
        }
    });
    assert_eq!(server.requests().len(), 1);
    assert_eq!(world.files(), [download.sha256.as_str()]);
}

#[test]
fn a_download_is_cancelled_while_the_server_is_silent() {
    let server = Server::start(|_, _, stream| {
        cut(stream, content(), 500_000, "\"v1\"");
        // Says no more until the client goes.
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let download = from(&[&server.url("/file")]);
    let folder = tempfile::tempdir().unwrap();
    let downloads = Downloads::new(folder.path(), Proxies::default());
    let cancel = CancelToken::default();
    let (sender, receiver) = mpsc::channel();
    let began = std::time::Instant::now();
    let error = thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            downloads.fetch(&download, &cancel, &mut |it| {
                if matches!(it, Progress::Bytes { have: 500_000, .. }) {
                    let _ = sender.send(());
                }
            })
        });
        receiver.recv().unwrap();
        cancel.cancel();
        fetching.join().unwrap().unwrap_err()
    });
    assert!(error.to_string().contains("cancelled"), "{error}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "the stall limit ended it"
    );
    assert!(downloads.fetch(&download, &cancel, &mut |_| {}).is_err());
}

#[test]
fn unused_files_are_removed() {
    let mut world = World::new();
    let old = std::time::SystemTime::now() - Duration::from_secs(61 * 24 * 3600);
    for name in ["unused", "abandoned.part", "abandoned.origin"] {
        let file = std::fs::File::create(world.folder.path().join(name)).unwrap();
        file.set_modified(old).unwrap();
    }
    let server = Server::of(content());
    world.succeed(&from(&[&server.url("/file")]));
}
