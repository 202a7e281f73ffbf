//! Measurements with a real guest: banger's own part of a start, and a boot against Debian's own
//! initrd.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banger_api::{CreateVm, KillVm, Mib, Progress, StartVm, StopVm, VmRef, VmSpecPatch};

use crate::baseline::Baseline;
use crate::daemon::Daemon;
use crate::{Row, median, spread};

/// The number of measurements of each boot.
const ROUNDS: usize = 3;

/// The files that `make bench` has made.
pub(crate) fn bundle() -> Option<PathBuf> {
    std::env::var_os("BANGER_TEST_BUNDLE").map(PathBuf::from)
}

/// The reason why no real guest can run here, if there is one.
pub(crate) fn lacking() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root");
    }
    if !Path::new("/usr/bin/qemu-system-x86_64").exists() {
        return Some("QEMU is not installed");
    }
    bundle()
        .is_none()
        .then_some("BANGER_TEST_BUNDLE names no bundle")
}

/// Waits for the first words of sshd.
pub(crate) fn banner(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while Instant::now() < deadline {
        if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let mut words = [0; 4];
            if stream.read_exact(&mut words).is_ok() && &words == b"SSH-" {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no sshd at {address}");
}

/// One start, in milliseconds: banger's own part until the hypervisor runs, then the guest's until
/// it is ready and until sshd answers.
struct Start {
    own: f64,
    ready: f64,
    banner: f64,
}

/// The VM that is measured.
fn bench() -> VmRef {
    "bench".parse().unwrap()
}

fn start(daemon: &Daemon, address: SocketAddr) -> Start {
    let began = Instant::now();
    let mut booted = None;
    let speaks = std::thread::scope(|scope| {
        let client = daemon.client();
        let waiting = scope.spawn(move || {
            banner(address);
            Instant::now()
        });
        let mut ready = began;
        let hear = |progress: Progress| {
            if progress.seconds.is_some() && progress.step == "boot" {
                booted = Some(Instant::now());
            }
            if progress.seconds.is_some() && progress.step == "wait for the guest" {
                ready = Instant::now();
            }
        };
        client.start(&bench(), &StartVm::default(), hear).unwrap();
        (waiting.join().unwrap(), ready)
    });
    let booted = booted.unwrap();
    let since = |end: Instant| (end - booted).as_secs_f64() * 1000.0;
    Start {
        own: (booted - began).as_secs_f64() * 1000.0,
        ready: since(speaks.1),
        banner: since(speaks.0),
    }
}

pub(crate) fn measure() -> Vec<Row> {
    let bundle = bundle().unwrap();
    let daemon = Daemon::start(&["--bundle", bundle.to_str().unwrap()]);
    let request = CreateVm {
        name: Some("bench".to_owned()),
        spec: VmSpecPatch {
            memory: Some(Mib(1024)),
            disk_size: Some(Mib(1024)),
            system_disk_size: Some(Mib(2048)),
            ..VmSpecPatch::default()
        },
        ..CreateVm::default()
    };
    let client = daemon.client();
    let vm = client.create(&request, |_| {}).unwrap();
    let address = SocketAddr::from((vm.address.unwrap(), 22));
    let baseline = Baseline::prepare(&daemon, &vm);
    let mut own = Vec::new();
    let mut ready = Vec::new();
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for round in 0..ROUNDS {
        eprintln!("boot {} of {ROUNDS}", round + 1);
        client.stop(&bench(), &StopVm::default(), |_| {}).unwrap();
        let start = start(&daemon, address);
        own.push(start.own);
        ready.push(start.ready);
        ours.push(start.banner);
        let kill = KillVm::default();
        client.kill(&bench(), &kill, |_| {}).unwrap();
        // In turns, so that a host that slows down slows both.
        theirs.push(baseline.boot());
    }
    client.start(&bench(), &StartVm::default(), |_| {}).unwrap();
    let mut streams = crate::streams::measure(&daemon);
    let delete = banger_api::DeleteVm {
        force: true,
        ..banger_api::DeleteVm::default()
    };
    client.delete(&bench(), &delete, |_| {}).unwrap();
    streams.push(crate::streams::first_command(&daemon));
    let ratio = median(ours.clone()) / median(theirs.clone());
    let seconds = |values: &[f64]| spread(values);
    let boots = vec![
        Row {
            what: "our own time from the request to the running hypervisor",
            aim: "50 ms".into(),
            found: spread(&own),
        },
        Row {
            what: "guest ready, from the start of QEMU",
            aim: "–".into(),
            found: seconds(&ready),
        },
        Row {
            what: "sshd's banner, from the start of QEMU",
            aim: "–".into(),
            found: seconds(&ours),
        },
        Row {
            what: "the same root file system with Debian's own initrd, to sshd's banner",
            aim: "–".into(),
            found: seconds(&theirs),
        },
        Row {
            what: "banger against Debian's own initrd",
            aim: "0.4×".into(),
            found: format!("{ratio:.2}×"),
        },
    ];
    boots.into_iter().chain(streams).collect()
}
