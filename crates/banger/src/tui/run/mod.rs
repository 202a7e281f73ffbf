//! The life of the screen: threads that hear, the loop that draws, and what is done outside.

mod command;
mod follower;
pub(crate) mod inbox;
mod keyboard;
mod link;
mod outside;
mod screen;
mod signals;
mod work;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::Backend;

use super::model::Model;
use super::model::message::{Effect, Message};
use super::view;
use inbox::{Inbox, Letter};

pub(crate) use outside::run;

/// How long letters are read before the screen is drawn: a flood of them is drawn at this pace.
const FRAME: Duration = Duration::from_millis(16);

/// How the loop goes on after something was done outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It goes on.
    On,
    /// It ends, with this exit status.
    End(u8),
}

/// What is done outside of the model.
pub(crate) trait Outside<B: Backend> {
    /// Does it. What comes of it reaches the inbox.
    ///
    /// # Errors
    /// The terminal is gone.
    fn perform(
        &mut self,
        effect: Effect,
        terminal: &mut Terminal<B>,
        inbox: &mut Inbox,
    ) -> Result<Flow, B::Error>;

    /// Takes the terminal again, after this process was stopped by others.
    ///
    /// # Errors
    /// The terminal is gone.
    fn resume(&mut self, terminal: &mut Terminal<B>) -> Result<(), B::Error>;
}

/// Draws, hears and acts until the end. Nothing is drawn while nothing changes.
///
/// # Errors
/// The terminal is gone.
pub(crate) fn run_loop<B: Backend>(
    terminal: &mut Terminal<B>,
    model: &mut Model,
    inbox: &mut Inbox,
    outside: &mut impl Outside<B>,
) -> Result<u8, B::Error> {
    loop {
        let size = terminal.size()?;
        let effects = if model.size == (size.width, size.height) {
            Vec::new()
        } else {
            model.update(Message::Size(size.width, size.height), Timestamp::now())
        };
        for effect in effects {
            outside.perform(effect, terminal, inbox)?;
        }
        let mut pane_end = 0;
        terminal.draw(|frame| pane_end = view::draw(model, frame))?;
        model.pane_end = pane_end;
        let Some(first) = inbox.next(model.next_tick()) else {
            model.update(Message::Tick, Timestamp::now());
            continue;
        };
        let frame_end = Instant::now() + FRAME;
        let mut letter = Some(first);
        while let Some(it) = letter {
            if let Flow::End(status) = take(it, terminal, model, inbox, outside)? {
                return Ok(status);
            }
            letter = if Instant::now() < frame_end {
                inbox.waiting()
            } else {
                None
            };
        }
    }
}

fn take<B: Backend>(
    letter: Letter,
    terminal: &mut Terminal<B>,
    model: &mut Model,
    inbox: &mut Inbox,
    outside: &mut impl Outside<B>,
) -> Result<Flow, B::Error> {
    let effects = match letter {
        Letter::Message(message) => model.update(*message, Timestamp::now()),
        Letter::End(status) => return Ok(Flow::End(status)),
        // As a shell has it for SIGHUP.
        Letter::Gone => return Ok(Flow::End(128 + 1)),
        Letter::Suspend => vec![Effect::Suspend],
        Letter::Resume => {
            outside.resume(terminal)?;
            Vec::new()
        }
    };
    for effect in effects {
        if let Flow::End(status) = outside.perform(effect, terminal, inbox)? {
            return Ok(Flow::End(status));
        }
    }
    Ok(Flow::On)
}
