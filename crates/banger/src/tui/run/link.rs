//! Follows the daemon's events, and connects again when they end.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use banger_api::client::Client;
use banger_api::{Code, Error, Result};

use super::inbox::Sender;
use crate::agreement;
use crate::paths::Paths;
use crate::remote::Prompts;
use crate::tui::model::message::Message;

/// How long to wait before the socket is tried again, at most; a missing socket has no event to wait on.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// Follows the events until the loop ends. `now` asks to connect without waiting.
pub(super) fn follow(sender: &Sender, places: &Paths, now: Receiver<()>) {
    let places = places.clone();
    sender.spawn("events", move |sender| {
        let mut last = None;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let before = last;
            let outcome = read(sender, &places, &mut last);
            if last != before {
                pause = SHORTEST_PAUSE;
            }
            let error = match outcome {
                Ok(false) => return,
                Ok(true) => Error::new(Code::NotReady, "the daemon has stopped"),
                Err(error) => error,
            };
            if !sender.send(Message::Lost(error)) {
                return;
            }
            match now.recv_timeout(pause) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
}

/// Reads events until they end; false where nobody hears them.
fn read(sender: &Sender, places: &Paths, last: &mut Option<u64>) -> Result<bool> {
    if let Some(remote) = &places.remote {
        // The connection may be that of a laptop before it slept.
        remote.connect(Prompts::Refused)?;
    }
    let client = Client::new(&places.location.socket)?;
    let daemon = client.daemon()?;
    agreement::is_meant(&daemon, places)?;
    let events = client.events(*last)?;
    if !sender.send(Message::Linked(Box::new(daemon))) {
        return Ok(false);
    }
    for event in events {
        let event = event?;
        *last = Some(event.seq);
        if !sender.send(Message::Event(Box::new(event))) {
            return Ok(false);
        }
    }
    Ok(true)
}
