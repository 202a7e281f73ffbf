//! Commands and bulk data of one guest, over banger's streams and over SSH, in turn.

#[path = "forward.rs"]
mod forward;
#[path = "sync.rs"]
mod sync;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::daemon::{Daemon, program};
use crate::{Row, median, spread};

/// The number of measurements of each.
const ROUNDS: usize = 7;

/// The size of the bulk data, in bytes.
const BULK: u64 = 64 << 20;

/// The commands that reach one guest.
struct Ways {
    state: PathBuf,
    configuration: PathBuf,
    /// A file of zeros with the size of the bulk data.
    bulk: PathBuf,
}

impl Ways {
    fn prepare(daemon: &Daemon) -> Self {
        let folder = daemon.folder.path();
        let ways = Self {
            state: daemon.state(),
            configuration: folder.join("ssh_config"),
            bulk: folder.join("bulk"),
        };
        let file = File::create(&ways.configuration).unwrap();
        let mut command = ways.banger(&["ssh-config"]);
        assert!(command.stdout(file).status().unwrap().success());
        std::fs::write(&ways.bulk, vec![0; usize::try_from(BULK).unwrap()]).unwrap();
        ways
    }

    fn banger(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("banger"));
        command.arg("--state").arg(&self.state).args(words);
        command
    }

    fn ssh(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(&self.configuration).args(words);
        command
    }
}

/// The duration of one command, in milliseconds.
fn time(command: &mut Command, input: Option<&Path>) -> f64 {
    let input = input.map_or_else(Stdio::null, |path| File::open(path).unwrap().into());
    command
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    began.elapsed().as_secs_f64() * 1000.0
}

/// Measures the two commands of a pair in turn.
fn compare(ours: &mut Command, theirs: &mut Command, input: Option<&Path>) -> (Vec<f64>, Vec<f64>) {
    (0..ROUNDS)
        .map(|_| (time(ours, input), time(theirs, input)))
        .unzip()
}

fn round_trip(what: &'static str, aim: &str, (ours, theirs): &(Vec<f64>, Vec<f64>)) -> Row {
    let ratio = median(ours.clone()) / median(theirs.clone());
    Row {
        what,
        aim: aim.to_owned(),
        found: format!("{ratio:.2}×: {} against {}", spread(ours), spread(theirs)),
    }
}

fn bulk(what: &'static str, (ours, theirs): &(Vec<f64>, Vec<f64>)) -> Row {
    let rate = |millis: &[f64]| (BULK >> 20) as f64 * 1000.0 / median(millis.to_vec());
    let (ours, theirs) = (rate(ours), rate(theirs));
    Row {
        what,
        aim: "1×".to_owned(),
        found: format!(
            "{:.1}×: {ours:.0} MiB/s against {theirs:.0} MiB/s (n = {ROUNDS})",
            ours / theirs
        ),
    }
}

/// Measures the running VM `bench`.
pub(crate) fn measure(daemon: &Daemon) -> Vec<Row> {
    let ways = Ways::prepare(daemon);
    let size = BULK.to_string();
    let file = ways.bulk.to_str().unwrap();
    let (exec, ssh) = (["vm", "exec", "bench", "--"], "bench.vm");
    let both = |words: &[&str]| {
        let ours = ways.banger(&[&exec[..], words].concat());
        (ours, ways.ssh("ssh", &[&[ssh], words].concat()))
    };
    let (mut ours, mut theirs) = both(&["true"]);
    let trip = compare(&mut ours, &mut theirs, None);
    let (mut ours, mut theirs) = both(&["head", "-c", &size, "/dev/zero"]);
    let out = compare(&mut ours, &mut theirs, None);
    let mut ours = ways.banger(&["vm", "exec", "-i", "bench", "--", "wc", "-c"]);
    let mut theirs = ways.ssh("ssh", &[ssh, "wc", "-c"]);
    let into = compare(&mut ours, &mut theirs, Some(&ways.bulk));
    let mut ours = ways.banger(&["vm", "cp", file, "bench:/root/bulk"]);
    let mut theirs = ways.ssh("scp", &[file, "bench.vm:/root/bulk"]);
    let copied = compare(&mut ours, &mut theirs, None);
    let mut rows = vec![
        round_trip("`vm exec NAME -- true`, against ssh", "0.1×", &trip),
        bulk("64 MiB out of a command, against ssh", &out),
        bulk("64 MiB into a command, against ssh", &into),
        bulk("`vm cp` of 64 MiB, against scp", &copied),
    ];
    rows.extend(forward::measure(&ways));
    rows.extend(sync::measure(&ways, daemon.folder.path()));
    rows
}

/// Measures from `vm create` to the first command that runs, and to ready.
pub(crate) fn first_command(daemon: &Daemon) -> Row {
    let state = daemon.state();
    let banger = |words: &[&str]| {
        let mut command = Command::new(program("banger"));
        command.arg("--state").arg(&state).args(words);
        command
    };
    let (mut first, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        time(&mut banger(&["vm", "create", "early", "--early"]), None);
        time(&mut banger(&["vm", "exec", "early", "--", "true"]), None);
        first.push(began.elapsed().as_secs_f64() * 1000.0);
        time(&mut banger(&["vm", "wait", "early"]), None);
        ready.push(began.elapsed().as_secs_f64() * 1000.0);
        time(&mut banger(&["vm", "delete", "early", "--force"]), None);
    }
    round_trip(
        "from `vm create --early` to the first command's end, against ready",
        "0.35×",
        &(first, ready),
    )
}
