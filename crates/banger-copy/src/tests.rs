//! Both sides against each other, and against hostile ones.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod relay;
mod sync;

/// A guest's session with this home, and a connection to it.
fn guest(home: &Path) -> (Connection, thread::JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let home = home.to_owned();
    let guest = thread::spawn(move || {
        serve(Connection::new(theirs, Vec::new()), Path::new("/"), |_| {
            Ok(home)
        });
    });
    (Connection::new(ours, Vec::new()), guest)
}

/// Sends `from` to `to` over a guest's session, as a push of one source named `name`.
fn push(from: &Path, to: &Path, name: &str) -> Result<Report, CopyError> {
    let (mut connection, guest) = guest(to);
    let request = Request {
        recursive: true,
        ..Request::default()
    };
    connection.send(&Frame::Path(Vec::new())).unwrap();
    connection
        .send(&Frame::Path(name.as_bytes().to_vec()))
        .unwrap();
    let json = serde_json::to_vec(&request).unwrap();
    connection.send(&Frame::Request(json)).unwrap();
    connection.flush().unwrap();
    assert_eq!(connection.expect().unwrap(), Frame::Accepted);
    let options = SendOptions {
        count: true,
        recursive: true,
    };
    let mut watch = NoWatch;
    let mut sender = Sender::new(&mut connection, &mut watch, options);
    let outcome = sender.send_all(&[from]).and_then(|()| sender.finish());
    drop(connection);
    guest.join().unwrap();
    outcome
}

/// Receives these frames into `to`.
fn receive(frames: Vec<Frame>, to: &Path) -> Result<Report, CopyError> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sending = thread::spawn(move || {
        let mut connection = Connection::new(theirs, Vec::new());
        for frame in frames {
            let _ = connection.send(&frame);
        }
        let _ = connection.flush();
        let _ = connection.close(std::time::Duration::from_secs(10));
    });
    let mut connection = Connection::new(ours, Vec::new());
    let target = Target {
        path: to.to_owned(),
        names: vec![None],
        into: true,
        ..Target::default()
    };
    let options = ReceiveOptions {
        recursive: true,
        ..ReceiveOptions::default()
    };
    let outcome = Receiver::new(&mut connection, &mut NoWatch, target, options).run();
    drop(connection);
    sending.join().unwrap();
    outcome
}

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

fn entry(text: &str, node: Node) -> Frame {
    let meta = Meta {
        mode: 0o6755,
        ..Meta::default()
    };
    let path = path(text);
    Frame::Entry(Head { path, meta, node })
}

fn file() -> Node {
    Node::File {
        size: 1,
        linkable: true,
        resumable: false,
    }
}

fn link_to(target: &str) -> Node {
    Node::Symlink {
        target: target.as_bytes().to_vec(),
    }
}

#[test]
fn a_single_file_that_cannot_be_written_is_reported_by_its_name() {
    let folder = TempDir::new().unwrap();
    let (from, to) = (folder.path().join("notes.txt"), folder.path().join("to"));
    fs::write(&from, "text").unwrap();
    fs::create_dir_all(to.join("notes.txt/full")).unwrap();
    let report = push(&from, &to, "notes.txt").unwrap();
    let paths: Vec<&str> = report.problems.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["notes.txt"], "{report:?}");
}

#[test]
fn a_tree_arrives_as_it_was() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let source = from.path().join("tree");
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/one"), "one").unwrap();
    fs::hard_link(source.join("a/one"), source.join("a/b/two")).unwrap();
    fs::set_permissions(source.join("a/one"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../nowhere", source.join("a/link")).unwrap();
    fs::set_permissions(source.join("a/b"), fs::Permissions::from_mode(0o555)).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"x", 500 << 20).unwrap();
    let report = push(&source, to.path(), "tree").unwrap();
    assert_eq!(
        (report.files, report.links, report.failed),
        (2, 2, 0),
        "{report:?}"
    );
    let copy = to.path().join("tree");
    let stat = |path: &Path| fs::symlink_metadata(path).unwrap();
    let one = stat(&copy.join("a/one"));
    assert_eq!(one.mtime_nsec(), stat(&source.join("a/one")).mtime_nsec());
    assert_eq!((one.mode() & 0o7777, one.nlink()), (0o640, 2));
    assert_eq!(one.ino(), stat(&copy.join("a/b/two")).ino());
    assert_eq!(
        fs::read_link(copy.join("a/link")).unwrap(),
        Path::new("../nowhere")
    );
    assert_eq!(stat(&copy.join("a/b")).mode() & 0o777, 0o555);
    let sparse = stat(&copy.join("sparse"));
    assert_eq!(sparse.len(), 1 << 30);
    assert!(sparse.blocks() < 1 << 12, "{}", sparse.blocks());
    // Again: everything is replaced, and nothing is left beside.
    assert_eq!(push(&source, to.path(), "tree").unwrap().failed, 0);
    assert_eq!(fs::read_dir(copy.join("a")).unwrap().count(), 3);
}

#[test]
fn a_large_file_goes_on_where_it_ended_if_that_part_is_the_same() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let source = from.path().join("big");
    let bytes: Vec<u8> = (0..RESUMABLE + 5).map(|at| (at % 251) as u8).collect();
    fs::write(&source, &bytes).unwrap();
    let partial = to.path().join(".big.banger-partial");
    let mut other = bytes[..1 << 20].to_vec();
    for expected in [1 << 20, 0] {
        fs::write(&partial, &other).unwrap();
        let report = push(&source, to.path(), "big").unwrap();
        assert_eq!(report.resumed, expected, "{report:?}");
        assert!(fs::read(to.path().join("big")).unwrap() == bytes);
        assert!(!partial.exists());
        other[7] = 99;
    }
}

#[test]
fn a_file_that_was_cut_off_has_no_name() {
    let to = TempDir::new().unwrap();
    let frames = vec![
        Frame::Source(0),
        entry("small", file()),
        Frame::Data(0, b"half".to_vec()),
    ];
    assert!(matches!(receive(frames, to.path()), Err(CopyError::Lost)));
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}

#[test]
fn nothing_leaves_the_target_by_a_link() {
    let (to, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let target = outside.path().to_str().unwrap();
    fs::write(outside.path().join("kept"), "kept").unwrap();
    let frames = vec![
        Frame::Source(0),
        entry("", Node::Directory),
        entry("way", link_to(target)),
        entry("way/file", file()),
        Frame::Data(0, b"x".to_vec()),
        Frame::FileEnd(1),
        entry("way/link", link_to("/")),
        entry("way", Node::Directory),
        entry("way/below", Node::Directory),
        Frame::HardLink(path("hard"), 0, path("way/kept")),
        entry("kept", link_to(&format!("{target}/kept"))),
        entry("kept", file()),
        Frame::Data(0, b"y".to_vec()),
        Frame::FileEnd(1),
        Frame::End(Report::default().to_json()),
    ];
    let report = receive(frames, to.path()).unwrap();
    assert!(report.failed >= 4, "{report:?}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read(outside.path().join("kept")).unwrap(), b"kept");
    // A link in the place of a file is replaced, and nobody becomes another user by a file that came.
    let kept = fs::symlink_metadata(to.path().join("kept")).unwrap();
    assert_eq!((kept.is_file(), kept.mode() & 0o7777), (true, 0o755));
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let to = TempDir::new().unwrap();
    for frames in [
        vec![Frame::Source(1)],
        vec![Frame::Data(0, vec![1])],
        vec![Frame::Leave(path("a"))],
        vec![Frame::Source(0), entry("a", file()), entry("b", file())],
        vec![
            Frame::Source(0),
            entry("a", file()),
            Frame::Data(u64::MAX - 1, vec![1, 2, 3]),
        ],
        vec![
            Frame::Source(0),
            entry("a", file()),
            Frame::Data(5, vec![1]),
            Frame::FileEnd(3),
        ],
    ] {
        let outcome = receive(frames, to.path());
        assert!(matches!(outcome, Err(CopyError::Broken(_))), "{outcome:?}");
    }
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let names = prop::sample::select(vec!["", "a", "a/b", "b", "a/b/c"]);
    let targets = prop::sample::select(vec!["..", "/", "a", "../.."]);
    (0..11_u8, names, targets, 0..20_u64).prop_map(|(kind, name, target, number)| match kind {
        0 => entry(name, Node::Directory),
        1 => entry(name, file()),
        2 => entry(name, link_to(target)),
        3 => Frame::Data(number, vec![1; 3]),
        4 => Frame::FileEnd(number),
        5 => Frame::FileGone,
        6 => Frame::Leave(path(name)),
        7 => Frame::HardLink(path(name), 0, path("a")),
        8 => Frame::Remove(path(name)),
        9 => Frame::List(path(name)),
        _ => Frame::Source(0),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_frames_stay_within_the_target(frames in prop::collection::vec(any_frame(), 0..40)) {
        let world = TempDir::new().unwrap();
        let to = world.path().join("to");
        fs::create_dir(&to).unwrap();
        let _ = receive(frames, &to);
        prop_assert_eq!(fs::read_dir(world.path()).unwrap().count(), 1);
    }

    #[test]
    fn any_bytes_are_a_frame_or_none(kind in 0..24_u8, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Some(frame) = Frame::decode(kind, &bytes) {
            let mut again = Vec::new();
            frame.encode(&mut again);
            prop_assert_eq!(Frame::decode(again[0], &again[5..]), Some(frame));
        }
    }
}
