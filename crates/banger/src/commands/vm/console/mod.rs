//! `banger vm console`: the serial console of a VM.

mod conversation;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use banger_api::{Code, Error};
use clap::Args;

use super::VmArgument;
use super::exec::terminal::Terminal;
use crate::escape::Escape;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::session::Session;
use conversation::{End, SessionOptions};

/// The sequence that resets a terminal, whatever the guest's programs have set: colours, the
/// cursor, pasting, the mouse, the encoding of keys.
const USUAL: &[u8] =
    b"\x1b[0m\x1b[?25h\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[>4;0m";

/// Open the serial console of a VM: what the guest prints, and what you type.
///
/// It needs only the guest's kernel, so it works in rescue (`vm start --rescue`), while a VM boots, and when it is broken. Ctrl-] leaves; the VM continues. The last lines that were printed are shown first.
///
/// One client types to a console at a time, and any number reads. Without a terminal, standard input is typed as it is, and the output follows until the VM stops or until ^C.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm console calm-otter
  banger vm console calm-otter --read-only
  banger vm console calm-otter --escape ctrl-a
  banger vm start calm-otter --rescue && banger vm console calm-otter")]
pub(crate) struct Console {
    #[command(flatten)]
    one: VmArgument,

    /// Only read; somebody else may type.
    #[arg(long)]
    read_only: bool,

    /// The key that leaves: `ctrl-` and a letter or one of [ \ ] ^ _, or `none`.
    #[arg(long, value_name = "KEY", default_value = "ctrl-]")]
    escape: Escape,
}

impl Console {
    /// Opens it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let name = &self.one.name;
        if self.read_only {
            crate::reader::leave_with_it();
        }
        let stream = session.daemon()?.console(name, !self.read_only)?;
        let tty = io::stdin().is_terminal();
        if tty && self.escape.is_some() {
            let key = self.escape;
            session
                .output
                .note(&format!("the console of {name}; {key} leaves"));
        }
        let options = SessionOptions {
            types: !self.read_only,
            tty,
            filters: session.output.terminal,
            escape: if tty { self.escape } else { Escape::NONE },
        };
        let terminal = Terminal::raw_if(tty);
        let end = conversation::hold(stream, &options);
        if session.output.terminal {
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(USUAL).and_then(|()| stdout.flush());
        }
        // The terminal is reset before any message.
        drop(terminal);
        if session.output.terminal {
            // The guest's own line is kept.
            say("");
        }
        match end? {
            End::Left => {
                session.output.note("left the console; the VM continues");
                Ok(ExitCode::SUCCESS)
            }
            End::Ended(how) => {
                session
                    .output
                    .note(&format!("the console has ended: {how}"));
                Ok(ExitCode::SUCCESS)
            }
            End::Signal(number) => Ok(ExitCode::from(128 + number)),
            End::ReaderGone => Err(Failure::ReaderGone),
            End::Lost => Err(
                Error::new(Code::Host, "the connection to the console was lost")
                    .cause("the daemon stopped; the VM is not affected")
                    .hint(format!("open it again: banger vm console {name}"))
                    .into(),
            ),
        }
    }
}
