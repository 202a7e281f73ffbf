//! A state directory of the test's own, with a daemon, and the guests that the tests share.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::leftovers;
use crate::network::{self, Subnet};

/// The paths and settings of the test's own banger.
#[derive(Debug)]
pub(crate) struct World {
    folder: tempfile::TempDir,
    bundle: PathBuf,
    /// The user that the client runs as, if that is not root.
    user: Option<(u32, u32)>,
    subnet: Subnet,
    pub(crate) dns_port: u16,
    /// The lock that tells other runs that this one lives.
    _lock: File,
}

/// The result of a run of the client.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: i32,
}

/// The reason why no real VMs can run here, if there is one.
pub(crate) fn lacking() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let Some(bundle) = std::env::var_os("BANGER_TEST_BUNDLE") else {
        return Some("BANGER_TEST_BUNDLE names no bundle (make test-boot does)".to_owned());
    };
    let bundle = PathBuf::from(bundle);
    if !bundle.join("bundle.json").is_file() {
        return Some(format!("there is no bundle in {}", bundle.display()));
    }
    (!Path::new("/usr/bin/qemu-system-x86_64").exists()).then(|| "QEMU is not installed".to_owned())
}

/// Counts a test as skipped, with the reason.
#[macro_export]
macro_rules! needs_real_vms {
    () => {
        if let Some(reason) = $crate::world::lacking() {
            eprintln!("SKIPPED: {}: {reason}", module_path!());
            return;
        }
    };
}

/// Counts a test that takes minutes as skipped unless those are requested.
#[macro_export]
macro_rules! needs_long_tests {
    () => {
        $crate::needs_real_vms!();
        if std::env::var_os("BANGER_TEST_FULL").is_none_or(|it| it != "1") {
            eprintln!(
                "SKIPPED: {}: it takes long (make test-full)",
                module_path!()
            );
            return;
        }
    };
}

static SHARED: LazyLock<Mutex<Option<World>>> = LazyLock::new(Mutex::default);

/// The world that tests share, while one uses it.
#[derive(Debug)]
pub(crate) struct Shared(MutexGuard<'static, Option<World>>);

impl std::ops::Deref for Shared {
    type Target = World;

    fn deref(&self) -> &World {
        self.0.as_ref().unwrap()
    }
}

/// The shared world, which is created on first use.
pub(crate) fn shared() -> Shared {
    let mut world = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    world.get_or_insert_with(|| World::new(None));
    Shared(world)
}

/// Deletes the shared guests and ends their daemon, after the last test.
pub(crate) fn end_shared() {
    drop(SHARED.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl World {
    pub(crate) fn new(user: Option<(u32, u32)>) -> Self {
        Self::configured(user, "")
    }

    /// A world with these further lines in its configuration.
    pub(crate) fn configured(user: Option<(u32, u32)>, more: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(leftovers::PREFIX)
            .tempdir()
            .unwrap();
        let lock = File::create(folder.path().join(leftovers::LOCK)).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let bundle = PathBuf::from(std::env::var_os("BANGER_TEST_BUNDLE").unwrap());
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let world = Self {
            folder,
            bundle,
            user,
            subnet: Subnet::claim(),
            dns_port: network::free_port(),
            _lock: lock,
        };
        let config = format!(
            "dns_port = {}\nsubnet = \"{}\"\nstart_timeout_seconds = 300\n\
             stop_timeout_seconds = 120\n{more}",
            world.dns_port,
            world.network(),
        );
        std::fs::write(world.path("config.toml"), config).unwrap();
        world
    }

    /// The network of its guests.
    pub(crate) fn network(&self) -> String {
        format!("{}.0/24", self.subnet.prefix)
    }

    /// The address with this last number in the network of its guests; 1 is the host's.
    pub(crate) fn address(&self, last: u8) -> String {
        format!("{}.{last}", self.subnet.prefix)
    }

    /// Ensures that a guest of this name runs with NAT; if it is missing, it is created with these
    /// options.
    pub(crate) fn running(&self, name: &str, options: &[&str]) {
        if self.run(&["vm", "show", name]).status == 0 {
            self.must(&["vm", "start", name]);
            self.must(&["vm", "set", name, "--nat"]);
        } else {
            self.must(&[&["vm", "create", "--name", name, "--nat"], options].concat());
        }
    }

    /// Ensures that the two shared guests run.
    pub(crate) fn first(&self) -> &'static str {
        self.running("first", &["--memory", "768", "--disk-size", "1G"]);
        "first"
    }

    pub(crate) fn second(&self) -> &'static str {
        self.running("second", &["--memory", "512", "--disk-size", "512M"]);
        "second"
    }

    /// The name of its nft table.
    pub(crate) fn table(&self) -> String {
        let tables = host("nft", &["list", "tables"]);
        let ours = tables
            .lines()
            .filter_map(|line| line.rsplit(' ').next())
            .find(|name| {
                host("nft", &["list", "table", "inet", name])
                    .contains(&format!("{}.", self.subnet.prefix))
            });
        ours.unwrap_or_else(|| panic!("no table has {}", self.subnet.prefix))
            .to_owned()
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(env!("CARGO_BIN_EXE_banger"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.folder.path())
            .env("BANGER_STATE", self.state())
            .env("BANGER_BUNDLE", &self.bundle)
            .env("BANGER_CONFIG", self.path("config.toml"))
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// The reason why this world's user cannot run the built programs, if she cannot: they are in a
    /// folder that is closed to others, such as root's home.
    pub(crate) fn out_of_reach(&self) -> Option<String> {
        let ran = self.command(&["--version"]).output();
        let runs = ran.is_ok_and(|it| it.status.success());
        (!runs).then(|| {
            let program = env!("CARGO_BIN_EXE_banger");
            format!("an ordinary user may not run {program}")
        })
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Self::finish(&self.command(arguments).output().unwrap())
    }
    fn finish(output: &Output) -> Run {
        Run {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status.code().unwrap_or(-1),
        }
    }

    /// Runs the client, which must succeed, and returns what it printed.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(
            run.status,
            0,
            "banger {arguments:?}: {}{}{}",
            run.stdout,
            run.stderr,
            consoles(&self.state())
        );
        run.stdout
    }

    /// Runs a command in a guest, which must succeed.
    pub(crate) fn ssh(&self, vm: &str, command: &[&str]) -> String {
        let mut arguments = vec!["vm", "ssh", vm, "--"];
        arguments.extend(command);
        self.must(&arguments).trim_end().to_owned()
    }

    /// Runs a script in a guest, which must succeed.
    pub(crate) fn sh(&self, vm: &str, script: &str) -> String {
        self.ssh(vm, &["sh", "-ec", script])
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        serde_json::from_str(&self.must(&all)).unwrap()
    }

    pub(crate) fn show(&self, vm: &str) -> Value {
        self.json(&["vm", "show", vm])
    }

    /// Waits until a VM is in this phase.
    pub(crate) fn wait_phase(&self, vm: &str, phase: &str, patience: Duration) -> Value {
        wait_for(patience, || {
            let view = self.show(vm);
            if view["phase"] == phase {
                Ok(view)
            } else {
                Err(view.to_string())
            }
        })
    }

    /// The daemon's process number.
    pub(crate) fn daemon_pid(&self) -> u32 {
        u32::try_from(self.json(&["daemon", "status"])["pid"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for World {
    /// Removes everything that the world has on the host.
    fn drop(&mut self) {
        if !self.state().exists() {
            return;
        }
        let list = self.run(&["--json", "vm", "list"]);
        let list: Value = serde_json::from_str(&list.stdout).unwrap_or_default();
        for vm in list.as_array().into_iter().flatten() {
            if let Some(name) = vm["name"].as_str() {
                let _ = self.run(&["vm", "delete", "--force", name]);
            }
        }
        let _ = self.run(&["daemon", "stop"]);
    }
}

/// The last lines of the consoles below a state directory, for the message of a failed test.
fn consoles(state: &Path) -> String {
    let vms = std::fs::read_dir(state.join("vms"));
    let mut text = String::new();
    for vm in vms.into_iter().flatten().flatten() {
        let path = vm.path().join("machine/console.log");
        let bytes = std::fs::read(&path).unwrap_or_default();
        let last = &bytes[bytes.len().saturating_sub(4000)..];
        let last = String::from_utf8_lossy(last);
        text.push_str(&format!("\n--- {}\n{last}", path.display()));
    }
    text
}

/// Polls until the answer is good, or panics with the last bad one.
pub(crate) fn wait_for<T>(patience: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if Instant::now() > deadline => panic!("not within {patience:?}: {last}"),
            Err(_) => pause(),
        }
    }
}

/// A short pause between two polls.
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

/// The output of a program of the host.
pub(crate) fn host(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Kills a process.
pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
