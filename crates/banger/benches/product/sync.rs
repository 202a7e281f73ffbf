//! `vm sync` of a tree into one guest, and rsync over SSH, in turn.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{ROUNDS, Ways, round_trip, time};
use crate::{Row, spread};

/// The tree: directories, and files in each.
const DIRECTORIES: usize = 50;
const FILES: usize = 40;

/// The size of a file, in bytes.
const SIZE: usize = 4 << 10;

fn make_tree(at: &Path) {
    for directory in 0..DIRECTORIES {
        let directory = at.join(format!("d{directory}"));
        fs::create_dir_all(&directory).unwrap();
        for file in 0..FILES {
            fs::write(directory.join(format!("f{file}")), [7; SIZE]).unwrap();
        }
    }
}

/// The times in milliseconds of one pair of commands: the whole tree, nothing, and one file that
/// changed.
struct Times {
    all: Vec<(f64, f64)>,
    nothing: Vec<(f64, f64)>,
    one: Vec<(f64, f64)>,
}

/// Measures both; without rsync on this host, its times are zero.
fn times(ways: &Ways, tree: &Path) -> Times {
    let has_rsync = Command::new("rsync").arg("--version").output().is_ok();
    let from = tree.to_str().unwrap();
    let shell = format!("ssh -F {}", ways.configuration.display());
    let mut times = Times {
        all: Vec::new(),
        nothing: Vec::new(),
        one: Vec::new(),
    };
    for round in 0..ROUNDS {
        let ours = format!("bench:sync{round}");
        let theirs = format!("bench.vm:rsync{round}/");
        let source = format!("{from}/");
        let pair = || {
            let ours = time(&mut ways.banger(&["vm", "sync", from, &ours]), None);
            let mut rsync = Command::new("rsync");
            rsync.args(["--archive", "--rsh", &shell, &source, &theirs]);
            let theirs = if has_rsync {
                time(&mut rsync, None)
            } else {
                0.0
            };
            (ours, theirs)
        };
        times.all.push(pair());
        times.nothing.push(pair());
        fs::write(tree.join("d7/f7"), format!("round {round}")).unwrap();
        times.one.push(pair());
    }
    times
}

fn row(what: &'static str, times: Vec<(f64, f64)>) -> Row {
    let (ours, theirs): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
    if theirs.contains(&0.0) {
        return Row {
            what,
            aim: "–".to_owned(),
            found: format!("{} (rsync is not installed)", spread(&ours)),
        };
    }
    round_trip(what, "1×", &(ours, theirs))
}

/// Measures the running VM `bench`.
pub(super) fn measure(ways: &Ways, folder: &Path) -> Vec<Row> {
    let tree = folder.join("tree");
    make_tree(&tree);
    let times = times(ways, &tree);
    vec![
        row("`vm sync` of 2,000 files, against rsync", times.all),
        row("… when nothing changed", times.nothing),
        row("… when one file changed", times.one),
    ]
}
