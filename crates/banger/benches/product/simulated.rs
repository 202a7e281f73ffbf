//! Measurements without a guest: the CLI, the daemon's memory, many starts at once.

use std::process::{Command, Stdio};
use std::time::Instant;

use banger_api::{CreateVm, Mib, StartVm, VmSpecPatch, VmView};

use crate::daemon::{Daemon, program};
use crate::{Row, spread};

/// Creates a VM.
pub(crate) fn create(daemon: &Daemon, name: &str, start: bool) -> VmView {
    let request = CreateVm {
        name: Some(name.to_owned()),
        spec: VmSpecPatch {
            memory: Some(Mib(512)),
            ..VmSpecPatch::default()
        },
        no_start: !start,
        ..CreateVm::default()
    };
    daemon.client().create(&request, |_| {}).unwrap()
}

pub(crate) fn measure() -> Vec<Row> {
    vec![list(), memory_idle(), memory_of_a_hundred(), starts()]
}

fn list() -> Row {
    let daemon = Daemon::start(&["--sim"]);
    for n in 0..1000 {
        create(&daemon, &format!("vm-{n}"), false);
    }
    let times: Vec<f64> = (0..21)
        .map(|_| {
            let began = Instant::now();
            let status = Command::new(program("banger"))
                .args(["vm", "list"])
                .env("BANGER_STATE", daemon.state())
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success());
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    Row {
        what: "`vm list` with 1,000 records, the whole process",
        aim: "10 ms".into(),
        found: spread(&times),
    }
}

fn memory_idle() -> Row {
    let daemon = Daemon::start(&["--sim"]);
    let found = format!("{:.1} MiB", daemon.memory());
    Row {
        what: "daemon memory, idle (RSS)",
        aim: "12 MiB".into(),
        found,
    }
}

fn memory_of_a_hundred() -> Row {
    let daemon = Daemon::start(&["--sim"]);
    for n in 0..100 {
        create(&daemon, &format!("vm-{n}"), true);
    }
    let found = format!("{:.1} MiB", daemon.memory());
    Row {
        what: "daemon memory, 100 simulated VMs (RSS)",
        aim: "20 MiB".into(),
        found,
    }
}

/// 100 starts at once against one, each on the simulated host.
fn starts() -> Row {
    let daemon = Daemon::start(&["--sim"]);
    for n in 0..101 {
        create(&daemon, &format!("vm-{n}"), false);
    }
    let start = |n: usize| {
        let vm = format!("vm-{n}").parse().unwrap();
        let client = daemon.client();
        client.start(&vm, &StartVm::default(), |_| {}).unwrap();
    };
    let began = Instant::now();
    start(100);
    let one = began.elapsed().as_secs_f64() * 1000.0;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..100 {
            scope.spawn(move || start(n));
        }
    });
    let all = began.elapsed().as_secs_f64() * 1000.0;
    let found = format!(
        "{all:.1} ms together, {one:.1} ms for one ({:.1} ms each)",
        all / 100.0
    );
    Row {
        what: "100 starts at once on `--sim`, against one",
        aim: "–".into(),
        found,
    }
}
