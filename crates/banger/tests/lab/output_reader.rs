//! The output of a command in the lab, line by line, until the command or its host ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::{Lab, User, wait_for};

/// A command in the lab whose output is read in the background.
#[derive(Debug)]
pub(crate) struct OutputReader {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl OutputReader {
    /// Starts a script as root.
    pub(crate) fn begin(lab: &Lab, script: &str) -> Self {
        let mut command = lab.command(User::Root, script, Duration::from_secs(3600));
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            // The last line may be incomplete.
            for line in stdout.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.lock().unwrap().push(line);
            }
        });
        Self {
            process,
            lines,
            reader: Some(reader),
        }
    }

    /// The lines read so far.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Ends the command and returns all of its output.
    pub(crate) fn end(mut self) -> Vec<String> {
        // SIGTERM, which timeout(1) passes on: SIGKILL would leave its child, ssh, with the output
        // open.
        let process = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        self.reader.take().unwrap().join().unwrap();
        self.so_far()
    }
}

/// The last number that the counter printed.
pub(crate) fn last_number(lines: &[String]) -> u64 {
    lines.last().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Waits until the counter has printed at least this number.
pub(crate) fn wait_for_number(output: &OutputReader, least: u64) {
    wait_for(Duration::from_secs(300), || {
        let last = last_number(&output.so_far());
        (last >= least)
            .then_some(())
            .ok_or(format!("{last} is the last number"))
    });
}
