//! `banger vm logs`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use banger_api::{LogSource, harmless};
use clap::Args;

use super::VmArgument;
use crate::console::Filter;
use crate::failure::Outcome;
use crate::interrupt;
use crate::session::Session;

/// Show what a VM's guest printed on its console since its last start.
///
/// A system that boots normally prints little there. What prevents a boot is there, and so is a panic.
/// On a terminal, only the guest's text and colours are shown; output to a file or a pipe is unmodified. With --json, each line is one object: {"line": "…"}.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm logs calm-otter
  banger vm logs -f calm-otter
  banger vm logs calm-otter | grep -i panic
  banger vm logs calm-otter --hypervisor")]
pub(crate) struct Logs {
    #[command(flatten)]
    one: VmArgument,

    /// Follow it as it grows, until ^C.
    #[arg(long, short)]
    follow: bool,

    /// The log of the VM's hypervisor instead: why a machine does not start, or has ended.
    #[arg(long)]
    hypervisor: bool,
}

impl Logs {
    /// Prints it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let output = session.output;
        let mut sink = if output.json {
            Sink::Lines(Vec::new())
        } else if output.terminal {
            interrupt::restore_the_colours();
            Sink::Terminal(Filter::new())
        } else {
            Sink::Bytes
        };
        let mut silent = true;
        let source = if self.hypervisor {
            LogSource::Hypervisor
        } else {
            LogSource::Console
        };
        if self.follow {
            crate::reader::leave_with_it();
        }
        let daemon = session.daemon()?;
        for piece in daemon.logs_of(&self.one.name, source, self.follow)? {
            sink.write(&piece?)?;
            silent = false;
        }
        sink.end()?;
        if silent {
            output.note(match source {
                LogSource::Console => {
                    "the console is empty: the VM has not been started, or its guest printed nothing"
                }
                LogSource::Hypervisor => {
                    "the log is empty: the VM has not been started, or its hypervisor had nothing to say"
                }
            });
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The destination of the console's bytes.
enum Sink {
    Bytes,
    Terminal(Filter),
    /// JSON lines; this is the incomplete last line.
    Lines(Vec<u8>),
}

impl Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match self {
            Self::Bytes => stdout.write_all(piece)?,
            Self::Terminal(filter) => stdout.write_all(filter.pass(piece).as_bytes())?,
            Self::Lines(pending) => {
                for part in piece.split_inclusive(|byte| *byte == b'\n') {
                    pending.extend_from_slice(part);
                    if pending.ends_with(b"\n") {
                        stdout.write_all(as_json(pending).as_bytes())?;
                        pending.clear();
                    }
                }
            }
        }
        stdout.flush()
    }

    fn end(self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match self {
            Self::Terminal(filter) => stdout.write_all(filter.end().as_bytes())?,
            Self::Lines(pending) if !pending.is_empty() => {
                stdout.write_all(as_json(&pending).as_bytes())?;
            }
            Self::Bytes | Self::Lines(_) => {}
        }
        stdout.flush()
    }
}

fn as_json(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches(['\r', '\n']);
    let json = serde_json::json!({ "line": line }).to_string();
    format!("{}\n", harmless::json(&json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_holds_one_line_of_the_console() {
        assert_eq!(
            as_json("ok \u{202e}\u{9b}1m\n".as_bytes()),
            "{\"line\":\"ok \\u202e\\u009b1m\"}\n"
        );
        assert_eq!(
            as_json(b"ok \x1b[0m\xff\r\n"),
            "{\"line\":\"ok \\u001b[0m\u{fffd}\"}\n"
        );
    }
}
