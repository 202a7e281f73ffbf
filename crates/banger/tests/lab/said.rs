//! What a command in the lab says, line by line, until it or its host ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::{Lab, User, wait_for};

/// A command in the lab that says lines until it is cut off.
#[derive(Debug)]
pub(crate) struct Said {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Said {
    /// Begins a script as root.
    pub(crate) fn begin(lab: &Lab, script: &str) -> Self {
        let mut command = lab.command(User::Root, script, Duration::from_secs(3600));
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            // The last line may have been cut in two.
            for line in stdout.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                heard.lock().unwrap().push(line);
            }
        });
        Self {
            process,
            lines,
            reader: Some(reader),
        }
    }

    /// The lines until now.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Everything that was said, once nothing more can be.
    pub(crate) fn end(mut self) -> Vec<String> {
        // SIGTERM, which timeout(1) hands on: SIGKILL would leave the SSH below it, and its output open.
        let process = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        self.reader.take().unwrap().join().unwrap();
        self.so_far()
    }
}

/// The highest number that the counter said.
pub(crate) fn last_said(lines: &[String]) -> u64 {
    lines.last().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Waits until a number as high as this was said.
pub(crate) fn wait_for_number(said: &Said, least: u64) {
    wait_for(Duration::from_secs(300), || {
        let last = last_said(&said.so_far());
        (last >= least)
            .then_some(())
            .ok_or(format!("{last} is the last number"))
    });
}
