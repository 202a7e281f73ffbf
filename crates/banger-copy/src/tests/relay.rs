//! Copies from one guest to another.

use super::*;

/// A guest's session with these files as its home, and a connection that has asked it.
fn session(home: &Path, verb: Verb, paths: &[&str]) -> (Connection, thread::JoinHandle<()>) {
    let (mut connection, guest) = guest(home);
    for path in paths {
        let path = path.as_bytes().to_vec();
        connection.send(&Frame::Path(path)).unwrap();
    }
    let request = Request {
        verb,
        recursive: true,
        ..Request::default()
    };
    let json = serde_json::to_vec(&request).unwrap();
    connection.send(&Frame::Request(json)).unwrap();
    connection.flush().unwrap();
    assert_eq!(connection.expect().unwrap(), Frame::Accepted);
    (connection, guest)
}

/// Relays the file or directory `tree` from one home to a path in another.
fn relayed(from: &Path, to: &Path, path: &str) -> Result<Report, RelayError> {
    let (mut sender, sending) = session(from, Verb::Pull, &["tree"]);
    let (mut receiver, receiving) = session(to, Verb::Push, &[path, "tree"]);
    let outcome = relay(&mut sender, &mut receiver, &mut NoWatch);
    drop((sender, receiver));
    sending.join().unwrap();
    receiving.join().unwrap();
    outcome
}

#[test]
fn a_tree_goes_from_guest_to_guest() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let tree = from.path().join("tree");
    fs::create_dir_all(tree.join("a")).unwrap();
    fs::write(tree.join("a/one"), "one").unwrap();
    fs::hard_link(tree.join("a/one"), tree.join("two")).unwrap();
    let bytes: Vec<u8> = (0..RESUMABLE + 5).map(|at| (at % 251) as u8).collect();
    fs::write(tree.join("big"), &bytes).unwrap();
    let there = to.path().join("tree");
    fs::create_dir(&there).unwrap();
    fs::write(there.join(".big.banger-partial"), &bytes[..1 << 20]).unwrap();
    let report = relayed(from.path(), to.path(), "").unwrap();
    assert_eq!(
        (report.files, report.links, report.resumed),
        (2, 1, 1 << 20)
    );
    assert!(fs::read(there.join("big")).unwrap() == bytes);
    let stat = |name: &str| fs::metadata(there.join(name)).unwrap();
    assert_eq!(stat("a/one").ino(), stat("two").ino());
}

#[test]
fn a_receiver_that_stops_ends_the_sender_in_another_guest() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let tree = from.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(to.path().join("file"), "no directory").unwrap();
    fs::write(tree.join("big"), vec![1; 1 << 20]).unwrap();
    let outcome = relayed(from.path(), to.path(), "file");
    let Err(RelayError::Receiver(CopyError::Stopped(reason))) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("is a file"), "{reason}");
}

#[test]
fn a_guest_that_breaks_the_protocol_ends_a_relayed_copy() {
    for frame in [
        Frame::Data(3, vec![1]),
        Frame::End(b"no report".to_vec()),
        Frame::Have(0, [0; 32]),
    ] {
        let to = TempDir::new().unwrap();
        let (mut receiver, receiving) = session(to.path(), Verb::Push, &["", "name"]);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut hostile = Connection::new(theirs, Vec::new());
        hostile.send(&frame).unwrap();
        hostile.close(std::time::Duration::ZERO).unwrap();
        let mut sender = Connection::new(ours, Vec::new());
        let outcome = relay(&mut sender, &mut receiver, &mut NoWatch);
        assert!(outcome.is_err(), "{outcome:?}");
        drop(receiver);
        receiving.join().unwrap();
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    }
}
