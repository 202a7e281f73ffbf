//! A state directory of our own with a daemon on it, and the guests that the tests share.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Everything that a banger of this test needs to find.
#[derive(Debug)]
pub(crate) struct World {
    folder: tempfile::TempDir,
    bundle: PathBuf,
    /// Whom the client runs as, where that is not root.
    user: Option<(u32, u32)>,
}

/// What a run of the client came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: i32,
}

/// Why real VMs cannot be had here, if they cannot.
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

static SHARED: LazyLock<Mutex<World>> = LazyLock::new(|| {
    let world = World::new(None);
    world.must(&[
        "vm",
        "create",
        "--name",
        "first",
        "--nat",
        "--memory",
        "768",
        "--disk-size",
        "1G",
    ]);
    Mutex::new(world)
});

/// The shared world, with the VM `first` in it, NAT on.
pub(crate) fn shared() -> MutexGuard<'static, World> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// libtest never drops statics, so the last test in the order of names does this.
pub(crate) fn end_shared(world: &World) {
    world.must(&["daemon", "stop"]);
    std::fs::remove_dir_all(world.folder.path()).unwrap();
}

impl World {
    pub(crate) fn new(user: Option<(u32, u32)>) -> Self {
        // A port and a network of our own: a daemon of the user may be at work beside us.
        let config = "dns_port = 42169\nsubnet = \"10.214.0.0/24\"\nstart_timeout_seconds = 300\nstop_timeout_seconds = 120\n";
        Self::configured(user, config)
    }

    pub(crate) fn configured(user: Option<(u32, u32)>, config: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("banger-real-")
            .tempdir()
            .unwrap();
        let bundle = PathBuf::from(std::env::var_os("BANGER_TEST_BUNDLE").unwrap());
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let world = Self {
            folder,
            bundle,
            user,
        };
        std::fs::write(world.path("config.toml"), config).unwrap();
        world
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

    /// Why this world's user cannot run what was built, if she cannot: it lies in a folder that
    /// is closed to others, as root's home is.
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
    /// After a test that failed: its daemon would hold the DNS port of the tests that follow.
    fn drop(&mut self) {
        // Elsewhere the test has ended it itself, and to ask would start another.
        if !std::thread::panicking() {
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

/// Asks until the answer is good, or panics with the last bad one.
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

/// A moment between two questions.
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

/// What a program of the host prints.
pub(crate) fn host(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ends a process at once.
pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
