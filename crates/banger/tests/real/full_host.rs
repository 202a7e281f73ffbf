//! The file system under the state directory fills up while a VM writes and syncs.
//!
//! The file system is small and the test's own. The guest appends numbers to a file and prints each
//! once fsync has returned. Every printed number must be there afterwards, and the guest must not
//! have seen an error.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::needs_real_vms;
use crate::world::{World, host, wait_for};

const PATIENCE: Duration = Duration::from_secs(90);

/// Makes the file system without blocks reserved for root, so that the test can fill it completely.
const EXT4: [&str; 5] = ["mkfs.ext4", "-q", "-F", "-m", "0"];
const XFS: [&str; 3] = ["mkfs.xfs", "-q", "-f"];

/// The guest's script: numbers, each printed once it is synced.
const COUNT: &str = "i=0; while :; do i=$((i+1)); \
    echo $i | dd of=/root/count oflag=append conv=notrunc,fsync status=none || exit 1; echo $i; done";

/// A session in which a guest counts.
struct Counter {
    session: Child,
    said: Arc<Mutex<u64>>,
}

impl Counter {
    fn begin(world: &World) -> Self {
        let mut command = world.command(&["vm", "ssh", "full", "--", "sh", "-c", COUNT]);
        let mut session = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(0));
        let writer = said.clone();
        let output = BufReader::new(session.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                *writer.lock().unwrap() = line.parse().unwrap_or(0);
            }
        });
        Self { session, said }
    }

    fn said(&self) -> u64 {
        *self.said.lock().unwrap()
    }

    fn wait_past(&self, number: u64) {
        wait_for(PATIENCE, || {
            let said = self.said();
            (said > number).then_some(()).ok_or(format!("at {said}"))
        });
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}

/// Fills the file system until this much is free, in MiB; with 0 no block is free.
fn fill(state: &Path, but: u64) {
    let found = rustix::fs::statvfs(state).unwrap();
    let free = found.f_bavail * found.f_frsize;
    let path = state.join("filler");
    let file = File::options().create(true).append(true).open(&path);
    let mut file = file.unwrap();
    if but > 0 {
        let more = free.saturating_sub(but << 20);
        let length = file.metadata().unwrap().len();
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, length, more).unwrap();
        return;
    }
    for piece in [1 << 20, 4096, 1] {
        while file.write_all(&vec![b'x'; piece]).is_ok() {}
    }
}

fn drain(state: &Path) {
    std::fs::remove_file(state.join("filler")).unwrap();
}

fn paused(world: &World) -> Value {
    wait_for(PATIENCE, || {
        let view = world.show("full");
        (view["paused"] == true)
            .then_some(view.clone())
            .ok_or(view.to_string())
    })
}

fn goes_on(world: &World) {
    wait_for(PATIENCE, || {
        let view = world.show("full");
        (view["paused"] == false)
            .then_some(())
            .ok_or(view.to_string())
    });
}

/// QEMU's own status of its machine.
fn status(socket: &Path) -> std::io::Result<String> {
    let folder = File::open(socket.parent().unwrap())?;
    let short = PathBuf::from(format!(
        "/proc/self/fd/{}/qmp.sock",
        std::os::fd::AsRawFd::as_raw_fd(&folder)
    ));
    let mut stream = UnixStream::connect(short)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let commands = [
        r#"{"execute":"qmp_capabilities"}"#,
        r#"{"execute":"query-status"}"#,
    ];
    stream.write_all(commands.join("\n").as_bytes())?;
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains("\"status\"") {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        text += &String::from_utf8_lossy(&bytes[..count]);
    }
    Ok(text)
}

/// Fills the file system while the daemon is stopped, so that the VM is not paused in time, and
/// waits until a write of the guest has found no space.
fn overtake(world: &World, state: &Path) {
    let daemon = rustix::process::Pid::from_raw(i32::try_from(world.daemon_pid()).unwrap());
    let signal = |signal| rustix::process::kill_process(daemon.unwrap(), signal).unwrap();
    let id = world.show("full")["id"].as_str().unwrap().to_owned();
    let socket = state.join("vms").join(id).join("machine/qmp.sock");
    // QEMU serves one client, and a daemon that was stopped during a query would keep us out.
    wait_for(PATIENCE, || {
        signal(rustix::process::Signal::STOP);
        status(&socket).map_err(|error| {
            signal(rustix::process::Signal::CONT);
            error.to_string()
        })
    });
    fill(state, 0);
    wait_for(PATIENCE, || {
        let status = status(&socket).unwrap_or_else(|error| error.to_string());
        status.contains("io-error").then_some(()).ok_or(status)
    });
    signal(rustix::process::Signal::CONT);
}

/// A world whose state directory is a small file system of its own.
struct SmallDisk(World);

impl SmallDisk {
    fn new(make: &[&str]) -> Self {
        let world = World::new(None);
        let image = world.path("disk.img");
        File::create(&image).unwrap().set_len(2 << 30).unwrap();
        let image = image.display().to_string();
        let state = world.state().display().to_string();
        let (program, options) = make.split_first().unwrap();
        host(program, &[options, &[&*image]].concat());
        std::fs::create_dir(world.state()).unwrap();
        host("mount", &["-o", "loop", &image, &state]);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(mounts.contains(&state), "{state} is not mounted");
        Self(world)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let state = self.0.state();
        let _ = std::fs::remove_file(state.join("filler"));
        let _ = self.0.run(&["vm", "delete", "--force", "full"]);
        let _ = self.0.run(&["daemon", "stop"]);
        host("umount", &["--lazy", &state.display().to_string()]);
        let _ = std::fs::remove_dir(state);
    }
}

/// A VM in this world that counts.
fn counting(world: &World) -> Counter {
    let sizes = ["--vcpu", "1", "--memory", "512", "--disk-size", "2G"];
    let create = ["vm", "create", "--name", "full"];
    world.must(&[&create[..], &sizes].concat());
    let counter = Counter::begin(world);
    counter.wait_past(3);
    counter
}

pub(crate) fn a_full_host_loses_nothing_of_a_vm_that_writes() {
    needs_real_vms!();
    let disk = SmallDisk::new(&EXT4);
    let (world, state) = (&disk.0, &*disk.0.state());
    let counter = counting(world);

    // The guard pauses the VM in time.
    fill(state, 150);
    let view = paused(world);
    assert_eq!(view["pause_reason"], "host-almost-full", "{view}");
    assert_eq!(view["phase"], "running", "{view}");
    assert!(
        view["notes"].to_string().contains("free some space"),
        "{view}"
    );
    let list = world.must(&["vm", "list"]);
    assert!(list.contains("paused: host almost full"), "{list}");
    let said = counter.said();
    drain(state);
    goes_on(world);
    counter.wait_past(said);

    // The disk fills faster than the guard looks, and the VM continues all the same.
    overtake(world, state);
    paused(world);
    let said = counter.said();
    drain(state);
    goes_on(world);
    counter.wait_past(said);
    let errors = world.sh("full", "dmesg | grep -ci 'i/o error' || true");
    assert_eq!(errors, "0");

    // A stop in that state writes everything first, once there is space.
    overtake(world, state);
    let said = counter.said();
    drain(state);
    let began = Instant::now();
    let stopped = world.json(&["vm", "stop", "full"]);
    eprintln!("stopped after {:?}: {}", began.elapsed(), stopped[0]["by"]);
    assert_eq!(stopped[0]["synced"], true, "{stopped}");
    drop(counter);
    world.must(&["vm", "start", "full"]);
    let kept = world.sh("full", "cat /root/count");
    let numbers: Vec<u64> = kept.lines().map(|it| it.parse().unwrap_or(0)).collect();
    let whole = (1..).zip(&numbers).take_while(|(n, it)| n == *it).count();
    assert!(whole as u64 >= said, "said {said}, kept {whole}");
}

pub(crate) fn stop_and_delete_work_where_not_one_block_is_free() {
    needs_real_vms!();
    let xfs = Command::new("mkfs.xfs").arg("-V").output().is_ok();
    let disk = SmallDisk::new(if xfs { &XFS } else { &EXT4 });
    let (world, state) = (&disk.0, &*disk.0.state());
    let _counter = counting(world);
    overtake(world, state);
    let began = Instant::now();
    let stopped = world.json(&["vm", "stop", "full"]);
    let took = began.elapsed();
    eprintln!("stopped after {took:?}: {stopped}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(stopped[0]["phase"], "stopped", "{stopped}");
    assert_eq!(stopped[0]["synced"], false, "{stopped}");
    let refused = world.run(&["vm", "start", "full"]);
    assert!(
        refused.stderr.contains("MiB are free"),
        "{}",
        refused.stderr
    );
    world.must(&["daemon", "stop"]);
    assert_eq!(world.show("full")["phase"], "stopped");
    world.must(&["vm", "delete", "full"]);
    let left: Vec<_> = std::fs::read_dir(state.join("vms")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    drain(state);
}
