//! The serial console of a simulated guest: a terminal that echoes, and a program that repeats each
//! line.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use banger_api::{Code, Error};
use banger_host::Sim;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::Result;

/// A pipe to a guest that answers in the file `console`, until the writing end is closed.
pub(super) fn open(sim: Sim, console: PathBuf) -> Result<OwnedFd> {
    let failed = |cause: std::io::Error| {
        Error::new(Code::Internal, "open a simulated console").cause(cause.to_string())
    };
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(|cause| failed(cause.into()))?;
    let answer = move || {
        let mut input = File::from(theirs);
        let mut line = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = input.read(&mut bytes) {
            sim.append(&console, &answer_to(&bytes[..count], &mut line));
        }
    };
    std::thread::Builder::new().spawn(answer).map_err(failed)?;
    Ok(ours)
}

/// The output of the terminal: the echoed keys, and after each line the program's output.
fn answer_to(keys: &[u8], line: &mut Vec<u8>) -> String {
    let mut shown = String::new();
    for key in keys {
        if matches!(key, b'\r' | b'\n') {
            let said = String::from_utf8_lossy(line).into_owned();
            shown += &format!("\r\nsimulated: {said}\r\n");
            line.clear();
        } else {
            line.push(*key);
            shown.push(char::from(*key));
        }
    }
    shown
}
