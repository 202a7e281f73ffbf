//! Trees that are kept the same.

use super::*;

/// What a receiver that keeps a tree the same replies to these frames: lists, each with its end, and
/// digests, so many together.
fn kept_the_same(to: &Path, dry: bool, frames: &[Frame], replies: usize) -> (Vec<Frame>, Report) {
    let (mut connection, guest) = guest(to);
    let request = Request {
        verb: Verb::Sync,
        dry,
        ..Request::default()
    };
    let json = serde_json::to_vec(&request).unwrap();
    let asked = [Frame::Path(b"app".to_vec()), Frame::Request(json)];
    let end = [Frame::End(Report::default().to_json())];
    for frame in asked.iter().chain(frames).chain(&end) {
        connection.send(frame).unwrap();
    }
    connection.flush().unwrap();
    assert_eq!(connection.expect().unwrap(), Frame::Accepted);
    let mut heard = Vec::new();
    let is_last = |frame: &&Frame| !matches!(frame, Frame::Listed(_));
    while heard.iter().filter(is_last).count() < replies {
        heard.push(connection.expect().unwrap());
    }
    let Frame::Answer(json) = connection.expect().unwrap() else {
        panic!("no answer");
    };
    drop(connection);
    guest.join().unwrap();
    (heard, serde_json::from_slice(&json).unwrap())
}

#[test]
fn what_a_sync_asks_and_removes_is_below_its_target() {
    let home = TempDir::new().unwrap();
    let (app, outside) = (home.path().join("app"), home.path().join("outside"));
    fs::create_dir_all(app.join("full/below")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    symlink(&outside, app.join("way")).unwrap();
    let meta = Meta {
        mode: 0o6777,
        ..Meta::default()
    };
    let frames = [
        Frame::Source(0),
        Frame::List(path("way")),
        Frame::Digest(path("way/file")),
        Frame::Remove(path("way/file")),
        Frame::Touch(path("way/file"), meta),
        Frame::Touch(path("way"), meta),
        Frame::Remove(path("full")),
        Frame::Remove(path("")),
        Frame::Remove(path("nothing")),
    ];
    let before = fs::metadata(outside.join("file")).unwrap();
    let (replies, report) = kept_the_same(home.path(), false, &frames, 2);
    let nothing = Frame::Have(u64::MAX, [0; 32]);
    assert_eq!(replies, [Frame::ListEnd(ListEnd::Absent), nothing]);
    assert_eq!((report.removed, report.touched), (0, 0), "{report:?}");
    assert_eq!(report.failed, 4, "{report:?}");
    let after = fs::metadata(outside.join("file")).unwrap();
    assert_eq!(
        (before.mode(), before.mtime()),
        (after.mode(), after.mtime())
    );
    assert!(app.join("full/below").exists());
    // A link itself goes, and not what it leads to; so does a directory that is empty.
    let frames = [
        Frame::Source(0),
        Frame::Remove(path("way")),
        Frame::Remove(path("full/below")),
        Frame::Remove(path("full")),
    ];
    let (_, report) = kept_the_same(home.path(), false, &frames, 0);
    assert_eq!((report.removed, report.failed), (3, 0), "{report:?}");
    assert!(outside.join("file").exists());
}

#[test]
fn a_list_has_every_entry_of_a_large_directory_and_a_dry_run_makes_none() {
    let home = TempDir::new().unwrap();
    let frames = [Frame::Source(0), Frame::List(path(""))];
    let (replies, _) = kept_the_same(home.path(), true, &frames, 1);
    assert_eq!(replies, [Frame::ListEnd(ListEnd::Absent)]);
    let app = home.path().join("app");
    assert!(!app.exists());
    fs::create_dir(&app).unwrap();
    for number in 0..2000 {
        fs::write(app.join(format!("{number:0200}")), "").unwrap();
    }
    // The sender decides about parts of files that were cut off.
    fs::write(app.join(".big.banger-partial"), "part").unwrap();
    let (replies, _) = kept_the_same(home.path(), false, &frames, 1);
    let listed = replies.iter().map(|frame| match frame {
        Frame::Listed(entries) => entries.len(),
        _ => 0,
    });
    assert_eq!(listed.sum::<usize>(), 2001);
    assert_eq!(replies.last(), Some(&Frame::ListEnd(ListEnd::Whole)));
}

/// What a guest with this root and home replies to a sync that removes.
fn asked_to_remove_in(target: &str, root: &Path, home: &Path) -> Frame {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut connection = Connection::new(ours, Vec::new());
    let (root, home) = (root.to_owned(), home.to_owned());
    let guest = thread::spawn(move || {
        serve(Connection::new(theirs, Vec::new()), &root, |_| Ok(home));
    });
    let request = Request {
        verb: Verb::Sync,
        delete: true,
        ..Request::default()
    };
    let json = serde_json::to_vec(&request).unwrap();
    connection.send(&Frame::Path(target.into())).unwrap();
    connection.send(&Frame::Request(json)).unwrap();
    connection.flush().unwrap();
    let reply = connection.expect().unwrap();
    drop(connection);
    guest.join().unwrap();
    reply
}

#[test]
fn nothing_is_removed_in_a_whole_home_by_whatever_name() {
    let world = TempDir::new().unwrap();
    let root = world.path().join("guest");
    let home = root.join("home/ada");
    fs::create_dir_all(home.join("app")).unwrap();
    fs::create_dir_all(root.join("srv/app")).unwrap();
    symlink("../..", home.join("up")).unwrap();
    symlink(&home, root.join("srv/home")).unwrap();
    for target in [
        "/",
        "",
        "~",
        "..",
        "app/..",
        "/home",
        "/home/ada",
        "~/../ada",
        "up",
        "/srv/home",
        "/srv/home/up",
        "/..",
    ] {
        let reply = asked_to_remove_in(target, &root, &home);
        assert!(
            matches!(&reply, Frame::Refusal(reason) if reason.contains("--delete needs a directory of its own")),
            "{target}: {reply:?}"
        );
    }
    for target in [
        "app",
        "~/app",
        "~//app",
        "/home/ada/app",
        "/srv",
        "/srv/home/app",
        "new",
    ] {
        let reply = asked_to_remove_in(target, &root, &home);
        assert_eq!(reply, Frame::Accepted, "{target}");
    }
    // A directory that is replaced between two batches is looked at again.
    let target = Target {
        path: root.join("srv/app"),
        names: vec![None],
        spared: vec![home.clone()],
        ..Target::default()
    };
    target.judge_root(true).unwrap();
    fs::remove_dir(root.join("srv/app")).unwrap();
    symlink(&home, root.join("srv/app")).unwrap();
    target.judge_root(true).unwrap_err();
}
