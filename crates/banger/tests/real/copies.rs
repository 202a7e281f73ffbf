//! Files of a real guest: archives, synchronized trees, large files, and copies that are cut off.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::world::{World, host, kill, shared, wait_for};
use crate::{needs_long_tests, needs_real_vms};

/// How long a guest without KVM may take to notice something.
const SOON: Duration = Duration::from_secs(120);

/// The digest of a file here, and that of one in the guest.
fn digests(world: &World, here: &str, there: &str) -> (String, String) {
    let first = |text: String| text.split_whitespace().next().unwrap().to_owned();
    let inside = world.must(&["vm", "exec", "first", "--", "sha256sum", there]);
    (first(host("sha256sum", &[here])), first(inside))
}

fn remove(world: &World, paths: &str) {
    let script = format!("rm -rf {paths}");
    world.must(&["vm", "exec", "first", "--", "sh", "-c", &script]);
}

pub(crate) fn archives_and_trees_reach_a_guest_without_a_network() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("target")).unwrap();
    for (name, text) in [
        ("one", "one"),
        (".gitignore", "target\n"),
        ("target/built", "x"),
    ] {
        fs::write(tree.join(name), text).unwrap();
    }
    let tree = tree.to_str().unwrap();
    let sync = [
        "vm",
        "sync",
        tree,
        "first:/srv/kept",
        "--delete",
        "--checksum",
    ];
    let down = "ip route save > /run/routes; ip link set eth0 down";
    world.must(&["vm", "exec", "first", "--", "sh", "-c", down]);
    let first = world.json(&sync);
    fs::write(format!("{tree}/one"), "two").unwrap();
    let script = "cd /srv/kept; test ! -e target; mkdir target; touch target/mine other";
    world.must(&["vm", "exec", "first", "--", "sh", "-ec", script]);
    let second = world.json(&sync);
    let packed = world
        .command(&["vm", "cp", "first:/srv/kept", "-"])
        .output()
        .unwrap();
    let archive = folder.path().join("archive");
    fs::write(&archive, packed.stdout).unwrap();
    let mut unpack = world.command(&["vm", "cp", "-", "first:/run"]);
    let unpack = unpack.stdin(fs::File::open(&archive).unwrap());
    let unpacked = unpack.output().unwrap();
    world.must(&["vm", "cp", "-r", "first:/run/kept", "first:/run/again"]);
    let up = "ip link set eth0 up; ip route restore < /run/routes; cd /run/again; cat one; \
              ls -A . target; rm -rf /run/again /run/kept /srv/kept";
    let listed = world.must(&["vm", "exec", "first", "--", "sh", "-c", up]);
    assert_eq!(first["files"], 2, "{first}");
    assert_eq!(
        (&second["files"], &second["removed"]),
        (&1.into(), &1.into())
    );
    assert!(unpacked.status.success(), "{unpacked:?}");
    let words: Vec<&str> = listed.split_whitespace().collect();
    assert_eq!(
        words,
        ["two.:", ".gitignore", "one", "target", "target:", "mine"]
    );
}

/// What ends a copy.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Client,
    Daemon,
    Guest,
}

fn cut(world: &World, mut copy: Child, by: Cut) {
    match by {
        Cut::Client => copy.kill().unwrap(),
        Cut::Daemon => kill(world.daemon_pid()),
        Cut::Guest => {
            let script = "pkill -KILL -f '[c]opy-session' || :";
            world.must(&["vm", "exec", "first", "--", "sh", "-c", script]);
        }
    }
    copy.wait().unwrap();
}

pub(crate) fn a_copy_that_is_cut_off_has_no_half_file_and_the_next_one_completes_it() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large");
    fs::write(&file, vec![7; 96 << 20]).unwrap();
    let (folder, file) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
    let size = (96_u64 << 20).to_string();
    for by in [Cut::Client, Cut::Daemon, Cut::Guest] {
        remove(&world, "/srv/cut");
        let mut copy = world.command(&["vm", "sync", folder, "first:/srv/cut"]);
        let copy = copy.stdout(Stdio::null()).stderr(Stdio::null());
        let copy = copy.spawn().unwrap();
        // A part of it has arrived.
        wait_for(SOON, || {
            let script = "find /srv/cut -size +1M | grep .";
            let run = world.run(&["vm", "exec", "first", "--", "sh", "-c", script]);
            (run.status == 0).then_some(()).ok_or(format!("{run:?}"))
        });
        cut(&world, copy, by);
        // Whole, if it was faster than the kill; or not there.
        let script = "stat -c %s /srv/cut/large 2>/dev/null || :";
        let found = world.must(&["vm", "exec", "first", "--", "sh", "-c", script]);
        assert!(
            ["", size.as_str()].contains(&found.trim()),
            "{by:?}: {found}"
        );
        world.must(&["vm", "sync", folder, "first:/srv/cut"]);
        let (ours, theirs) = digests(&world, file, "/srv/cut/large");
        assert_eq!(ours, theirs, "{by:?}");
        let left = world.must(&["vm", "exec", "first", "--", "ls", "-A", "/srv/cut"]);
        assert_eq!(left.trim(), "large", "{by:?}");
    }
    remove(&world, "/srv/cut");
}

pub(crate) fn a_gigabyte_goes_both_ways() {
    needs_long_tests!();
    let world = shared();
    world.first();
    let folder = tempfile::tempdir().unwrap();
    let (file, back) = (folder.path().join("large"), folder.path().join("back"));
    let (file, back) = (file.to_str().unwrap(), back.to_str().unwrap());
    host(
        "dd",
        &[
            "if=/dev/urandom",
            &format!("of={file}"),
            "bs=1M",
            "count=1024",
            "status=none",
        ],
    );
    world.must(&["vm", "cp", file, "first:/srv/gigabyte"]);
    world.must(&["vm", "cp", "first:/srv/gigabyte", back]);
    // An emulated guest needs longer for a digest of it than for both copies, so what has come back
    // is compared here.
    let compared = Command::new("cmp").args([file, back]).output().unwrap();
    assert!(compared.status.success(), "{compared:?}");
    remove(&world, "/srv/gigabyte");
}
