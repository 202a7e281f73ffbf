//! A daemon of the bench's own, with its own state directory.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use banger_api::client::Client;

pub(crate) struct Daemon {
    pub(crate) folder: tempfile::TempDir,
    child: Child,
}

/// The path of a program; the daemon is beside the client.
pub(crate) fn program(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_banger")).with_file_name(name)
}

impl Daemon {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("banger-bench-")
            .tempdir()
            .unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "dns_port = 42269\nsubnet = \"10.213.0.0/20\"\n").unwrap();
        let mut child = Command::new(program("bangerd"))
            .args(arguments)
            .arg("--state")
            .arg(folder.path().join("state"))
            .arg("--config")
            .arg(config)
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert!(line.starts_with("ready"), "{line}");
        Self { folder, child }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.state().join("run/bangerd.sock")).unwrap()
    }

    /// The resident memory of the daemon, in MiB.
    pub(crate) fn memory(&self) -> f64 {
        memory(self.child.id())
    }

    /// The CPU time of the daemon, in seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        processor_time(self.child.id())
    }
}

/// The resident memory of a process, in MiB: `VmRSS` (proc(5)).
pub(crate) fn memory(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<f64>().unwrap() / 1024.0
}

/// The CPU time of a process, in seconds: utime and stime (proc(5)), which count hundredths.
pub(crate) fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|it| it.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
