//! What the loop does outside on a real terminal, with a real daemon.

use std::ffi::OsString;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use banger_api::{Code, Error};
use crossterm::clipboard::CopyToClipboard;
use crossterm::execute;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios;

use super::follower::Follower;
use super::inbox::{Inbox, Sender, inbox};
use super::keyboard::Keyboard;
use super::work::Work;
use super::{Flow, Outside, link, run_loop, screen, signals};
use crate::commands::doctor;
use crate::commands::vm::NOT_OF_THE_COMMAND;
use crate::failure::{Failure, Outcome};
use crate::programs;
use crate::session::Session;
use crate::tui::files;
use crate::tui::model::message::{Effect, Message, Program};
use crate::tui::model::{Look, Model};
use crate::usage::sampler::{self, Sampler};

type Screen = Terminal<CrosstermBackend<io::Stdout>>;

/// Everything outside.
struct Host<'s> {
    session: &'s Session,
    sender: Sender,
    keyboard: Keyboard,
    /// Whether another program has the terminal.
    away: Arc<AtomicBool>,
    work: Work,
    follower: Follower,
    sampler: Sampler,
    connect: mpsc::Sender<()>,
    mouse: bool,
}

/// Shows the screen until the user quits.
///
/// # Errors
/// The daemon does not start, the key table is wrong, or the terminal cannot be used.
pub(crate) fn run(session: &Session, look: Look) -> Outcome {
    let keys = files::keys(&session.places)?;
    session.daemon()?;
    let kept = files::kept(&session.places);
    let mut model = Model::new(Timestamp::now(), keys, look, &kept);
    model.zone = TimeZone::system();
    let remote = session.places.remote.as_ref();
    model.host = remote.map(|it| it.name().to_owned());
    let (sender, mut inbox) = inbox();
    let trouble = |cause: io::Error| {
        Failure::from(Error::new(Code::Host, "use the terminal").cause(cause.to_string()))
    };
    screen::give_back_on_panic();
    let away = Arc::new(AtomicBool::new(false));
    signals::watch(&sender, Arc::clone(&away)).map_err(trouble)?;
    screen::take(kept.mouse).map_err(trouble)?;
    let ended = begin(session, &sender, away, kept.mouse).and_then(|mut host| {
        let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        draw_anew(&mut terminal)?;
        run_loop(&mut terminal, &mut model, &mut inbox, &mut host)
    });
    screen::give_back();
    files::keep(&session.places, &model.kept());
    match ended {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(status) => Err(Failure::Status(status)),
        Err(cause) => Err(trouble(cause)),
    }
}

fn begin<'s>(
    session: &'s Session,
    sender: &Sender,
    away: Arc<AtomicBool>,
    mouse: bool,
) -> io::Result<Host<'s>> {
    let (connect, now) = mpsc::channel();
    link::follow(sender, &session.places, now);
    Ok(Host {
        session,
        sender: sender.clone(),
        keyboard: Keyboard::new(sender)?,
        away,
        work: Work::new(sender, &session.places),
        follower: Follower::new(sender, &session.places),
        sampler: measure(sender, &session.places.location.socket),
        connect,
        mouse,
    })
}

/// Measures on threads of its own; what comes of it is a message.
fn measure(sender: &Sender, socket: &Path) -> Sampler {
    let sampler = Sampler::new();
    for _ in 0..sampler::THREADS {
        let (sampler, socket) = (sampler.clone(), socket.to_owned());
        sender.spawn("usage", move |sender| {
            sampler.run(&socket, |vm, stats| {
                sender.send(Message::Measured(vm, stats.map(Box::new)))
            });
        });
    }
    sampler
}

impl Outside<CrosstermBackend<io::Stdout>> for Host<'_> {
    fn perform(
        &mut self,
        effect: Effect,
        terminal: &mut Screen,
        inbox: &mut Inbox,
    ) -> io::Result<Flow> {
        match effect {
            Effect::Quit => return Ok(Flow::End(0)),
            Effect::Work(job) => self.work.take(job),
            Effect::Ask(question) => self.work.ask(question),
            Effect::Measure(wanted) => self.sampler.want(&wanted),
            Effect::Follow(source) => self.follower.follow(source),
            Effect::Connect => {
                let _ = self.connect.send(());
            }
            Effect::Copy(text) => {
                execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))?;
            }
            Effect::Mouse(mouse) => {
                self.mouse = mouse;
                screen::hear_mouse(mouse)?;
            }
            Effect::Redraw => draw_anew(terminal)?,
            Effect::Suspend if !signals::is_resumable() => self.hear(Message::Note(
                Error::new(Code::Invalid, "no shell would resume this program")
                    .hint("it is in a terminal of its own; q quits, and VMs go on"),
            )),
            Effect::Suspend => {
                self.keyboard.park(inbox);
                screen::give_back();
                let _ = kill_process(getpid(), Signal::STOP);
                self.keyboard.resume();
                self.resume(terminal)?;
            }
            Effect::Run(program) => self.give_terminal_to(&program, terminal, inbox)?,
        }
        Ok(Flow::On)
    }

    fn resume(&mut self, terminal: &mut Screen) -> io::Result<()> {
        screen::take(self.mouse)?;
        draw_anew(terminal)
    }
}

impl Host<'_> {
    /// Nothing of ours reads or draws while the program has the terminal.
    fn give_terminal_to(
        &mut self,
        program: &Program,
        terminal: &mut Screen,
        inbox: &mut Inbox,
    ) -> io::Result<()> {
        self.keyboard.park(inbox);
        screen::give_back();
        self.away.store(true, Ordering::SeqCst);
        self.sampler.pause(true);
        let modes = termios::tcgetattr(rustix::stdio::stdin());
        let outcome = self
            .words(program)
            .and_then(|words| programs::attend(&words));
        // A program that was killed leaves the terminal as it had it.
        if let Ok(modes) = modes {
            let now = termios::OptionalActions::Now;
            let _ = termios::tcsetattr(rustix::stdio::stdin(), now, &modes);
        }
        forget_keys();
        if is_to_be_read(program, outcome.as_ref().ok().copied()) {
            wait_for_enter(outcome.as_ref().err());
        }
        forget_keys();
        self.away.store(false, Ordering::SeqCst);
        self.sampler.pause(false);
        self.keyboard.resume();
        self.resume(terminal)?;
        self.hear(Message::Returned(outcome.map(drop)));
        Ok(())
    }

    /// Sends a message to the loop, which is the caller and must not wait for itself.
    fn hear(&self, message: Message) {
        self.sender.spawn("message", move |sender| {
            sender.send(message);
        });
    }

    fn words(&self, program: &Program) -> banger_api::Result<Vec<OsString>> {
        let places = &self.session.places;
        match program {
            Program::Banger(words) | Program::Shell(words) | Program::Shown(words) => {
                let mut line = doctor::own_program(places)?;
                line.extend(words.iter().map(OsString::from));
                Ok(line)
            }
            Program::Fix(fix) => doctor::words(places, fix),
        }
    }
}

/// Whether what a program has printed is to be read before the next drawing hides it: it was run for that, or
/// it tells of a failure. A shell passes on the status of the last command in it, which the user has seen.
fn is_to_be_read(program: &Program, status: Option<ExitStatus>) -> bool {
    let code = status.and_then(|it| it.code());
    match program {
        Program::Shown(_) => true,
        Program::Shell(_) => code.is_none_or(|it| it == i32::from(NOT_OF_THE_COMMAND)),
        Program::Banger(_) | Program::Fix(_) => code != Some(0),
    }
}

/// Has the next drawing draw every cell. `Terminal::clear` would ask the terminal where its cursor is, and
/// wait for an answer that the keyboard's thread takes, or that never comes.
fn draw_anew(terminal: &mut Screen) -> io::Result<()> {
    let size = terminal.size()?;
    terminal.resize(Rect::from((Position::ORIGIN, size)))
}

/// Forgets keys that were meant for a program that has ended: they are no answer, and no keys of ours.
fn forget_keys() {
    let _ = termios::tcflush(rustix::stdio::stdin(), termios::QueueSelector::IFlush);
}

/// What a failed program has said would be gone with the next drawing.
fn wait_for_enter(error: Option<&Error>) {
    let mut stderr = io::stderr();
    if let Some(error) = error {
        let _ = writeln!(stderr, "{}", banger_api::harmless::visible(&error.report()));
    }
    let _ = write!(stderr, "\npress enter to return to banger ");
    let _ = stderr.flush();
    let _ = io::stdin().lock().read_line(&mut String::new());
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_shell_returns_at_once_unless_banger_itself_has_failed() {
        let exits = |code: i32| Some(ExitStatus::from_raw(code << 8));
        let killed = Some(ExitStatus::from_raw(9));
        let shell = Program::Shell(Vec::new());
        for (status, is_read) in [
            (exits(0), false),
            (exits(1), false),
            (exits(130), false),
            (exits(255), true),
            (killed, true),
            (None, true),
        ] {
            assert_eq!(is_to_be_read(&shell, status), is_read, "{status:?}");
        }
        let console = Program::Banger(Vec::new());
        assert!(!is_to_be_read(&console, exits(0)) && is_to_be_read(&console, exits(1)));
        assert!(is_to_be_read(&Program::Shown(Vec::new()), exits(0)));
    }
}
