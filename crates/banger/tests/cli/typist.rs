//! A user at a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::environment::TestEnvironment;

/// A program on a terminal, as a user has it.
pub(crate) struct Typist {
    shell: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    pub(crate) seen: String,
}

impl Typist {
    pub(crate) fn new(environment: &TestEnvironment, shell: &[&str]) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let terminal = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let wanted = environment.command(&[]);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(shell).env_clear();
        for (variable, value) in wanted.get_envs() {
            command.env(variable, value.unwrap_or_default());
        }
        let shell = command
            .env("TERM", "xterm")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(Stdio::from(terminal))
            .spawn()
            .unwrap();
        let keys = File::from(keys);
        let mut reader = keys.try_clone().unwrap();
        let (say, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read) = reader.read(&mut piece) {
                if read == 0 || say.send(piece[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            shell,
            keys,
            screen,
            seen: String::new(),
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is on the screen.
    pub(crate) fn sees(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(piece) = self.screen.recv_timeout(left) else {
                panic!(
                    "`{text}` is not on the screen: {}",
                    self.seen.escape_debug()
                );
            };
            self.seen += &String::from_utf8_lossy(&piece);
        }
    }

    /// Waits until the program has ended, and returns its exit status.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let status = self.shell.wait().unwrap().code();
        while let Ok(piece) = self.screen.recv_timeout(Duration::from_secs(1)) {
            self.seen += &String::from_utf8_lossy(&piece);
        }
        status
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
