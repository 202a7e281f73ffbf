//! A home for each test: nothing of the user's own, and nothing left behind.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// A directory with a home, a state directory, and a daemon once it is started.
pub(crate) struct TestEnvironment {
    directory: TempDir,
    /// Whether a daemon that is started here is simulated.
    simulated: bool,
}

/// The result of a run of the client.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The exit status; after a signal 128 plus its number, as in a shell.
    pub(crate) status: i32,
}

impl TestEnvironment {
    pub(crate) fn new() -> Self {
        let bangerd = program().with_file_name("bangerd");
        assert!(
            bangerd.is_file(),
            "{} is missing: cargo build -p bangerd",
            bangerd.display()
        );
        let directory = tempfile::Builder::new()
            .prefix("banger-cli-")
            .tempdir()
            .unwrap();
        for below in ["home", "bin"] {
            std::fs::create_dir(directory.path().join(below)).unwrap();
        }
        let mut private = std::fs::DirBuilder::new();
        let run = directory.path().join("run");
        private.mode(0o700).create(run).unwrap();
        Self {
            directory,
            simulated: true,
        }
    }

    /// An environment for a fake daemon that claims to be real; no other daemon may start.
    pub(crate) fn for_fake() -> Self {
        let mut environment = Self::new();
        environment.simulated = false;
        environment
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("home/.local/state/banger")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join("run/bangerd.sock")
    }

    /// The client with these arguments, in this environment only.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", "")
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .envs(self.simulated.then_some(("BANGER_SIM", "1")))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    /// Runs the client, which must succeed.
    pub(crate) fn done(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.status, 0, "banger {arguments:?}: {run:#?}");
        run
    }

    /// Runs the client with `--json`, and parses its one value.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let run = self.done(&[arguments, &["--json"]].concat());
        assert_eq!(run.stderr, "", "nothing but the value with --json");
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// Writes a shell script into the search path for programs.
    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// The processes of daemons of this environment.
    pub(crate) fn daemons(&self) -> Vec<Pid> {
        let place = self.directory.path().as_os_str().as_encoded_bytes();
        let is_ours = |process: &Path| {
            let words = std::fs::read(process.join("cmdline")).unwrap_or_default();
            let program = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            program.trim() == "bangerd" && words.windows(place.len()).any(|it| it == place)
        };
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes
            .map(|entry| entry.path())
            .filter(|process| is_ours(process))
            .filter_map(|process| Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?))
            .collect()
    }
}

impl Drop for TestEnvironment {
    fn drop(&mut self) {
        if self.daemons().is_empty() {
            return;
        }
        let _ = self.command(&["daemon", "stop"]).output();
        for left in self.daemons() {
            let _ = rustix::process::kill_process(left, Signal::KILL);
        }
    }
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let by_signal = output.status.signal().map(|signal| 128 + signal);
        Self {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            status: output.status.code().or(by_signal).unwrap(),
        }
    }
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_banger"))
}
