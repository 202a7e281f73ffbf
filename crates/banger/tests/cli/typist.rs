//! A user at a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::environment::TestEnvironment;
use crate::terminal;

/// A program on a terminal, driven by keys.
pub(crate) struct Typist {
    shell: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    pub(crate) seen: String,
}

impl Typist {
    pub(crate) fn new(environment: &TestEnvironment, shell: &[&str]) -> Self {
        let (shell, keys) = terminal::start(environment, shell, None, &[("TERM", "xterm")]);
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

    /// Waits until the text is on the screen.
    pub(crate) fn sees(&mut self, text: &str) {
        let seen = self.sees_within(text, Duration::from_secs(30));
        assert!(
            seen,
            "`{text}` is not on the screen: {}",
            self.seen.escape_debug()
        );
    }

    /// Types the keys of a line again until the text is on the screen: an answer for which the
    /// daemon has 200 ms may come too late on a busy machine.
    pub(crate) fn types_until_it_sees(&mut self, keys: &str, text: &str) {
        for _ in 0..5 {
            self.types(keys);
            if self.sees_within(text, Duration::from_secs(6)) {
                return;
            }
        }
        self.sees(text);
    }

    fn sees_within(&mut self, text: &str, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(piece) = self.screen.recv_timeout(left) else {
                return false;
            };
            self.seen += &String::from_utf8_lossy(&piece);
        }
        true
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
