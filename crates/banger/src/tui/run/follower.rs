//! Follows one console or log for the screen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use banger_api::client::{CancelToken, Client};
use banger_api::{Error, LogSource, Result, VmId, VmRef};

use super::inbox::Sender;
use crate::commands::daemon::follow_log;
use crate::console::Filter;
use crate::paths::Paths;
use crate::tui::model::message::{Message, Source};

/// Follows one source at a time.
#[derive(Debug)]
pub(super) struct Follower {
    sender: Sender,
    places: Paths,
    current: Option<Arc<Subscription>>,
}

/// A source that is followed, until it is ended.
#[derive(Debug, Default)]
struct Subscription {
    ended: AtomicBool,
    token: Mutex<Option<CancelToken>>,
}

impl Subscription {
    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(token) = self
            .token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            token.cancel();
        }
    }

    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Follower {
    /// Follows nothing yet.
    pub(super) fn new(sender: &Sender, places: &Paths) -> Self {
        Self {
            sender: sender.clone(),
            places: places.clone(),
            current: None,
        }
    }

    /// Follows this from now on.
    pub(super) fn follow(&mut self, source: Option<Source>) {
        if let Some(current) = self.current.take() {
            current.end();
        }
        let Some(source) = source else { return };
        let subscription = Arc::new(Subscription::default());
        self.current = Some(Arc::clone(&subscription));
        let places = self.places.clone();
        self.sender.spawn("follower", move |sender| {
            let heard = |text: String| {
                !subscription.is_ended() && sender.send(Message::Piece(source, text))
            };
            let outcome = match source {
                Source::Console(vm) => {
                    follow_vm(&places, vm, LogSource::Console, &subscription, heard)
                }
                Source::Hypervisor(vm) => {
                    follow_vm(&places, vm, LogSource::Hypervisor, &subscription, heard)
                }
                Source::Daemon => log(&places, &subscription, heard),
            };
            if !subscription.is_ended() {
                sender.send(Message::SourceEnded(source, outcome.err()));
            }
        });
    }
}

fn follow_vm(
    places: &Paths,
    vm: VmId,
    source: LogSource,
    subscription: &Subscription,
    mut heard: impl FnMut(String) -> bool,
) -> Result<()> {
    let client = Client::new(&places.location.socket)?;
    let vm: VmRef = vm
        .to_string()
        .parse()
        .map_err(|wrong: banger_api::InvalidName| {
            Error::new(banger_api::Code::Internal, wrong.to_string())
        })?;
    let pieces = client.logs_of(&vm, source, true)?;
    *subscription
        .token
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(pieces.token());
    if subscription.is_ended() {
        return Ok(());
    }
    let mut filter = Filter::new();
    for piece in pieces {
        if !heard(without_colours(&filter.pass(&piece?))) {
            return Ok(());
        }
    }
    Ok(())
}

fn log(
    places: &Paths,
    subscription: &Subscription,
    mut heard: impl FnMut(String) -> bool,
) -> Result<()> {
    if let Some(remote) = &places.remote {
        let host = remote.name();
        let text = format!("the daemon's log is a file of `{host}`");
        return Err(Error::new(banger_api::Code::Invalid, text)
            .hint(format!("read it: banger --host {host} daemon logs -f")));
    }
    follow_log(&places.location.state, |text| match text {
        Some(line) => heard(line),
        None => !subscription.is_ended(),
    })
}

/// Text without the colours that the filter lets pass.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |it| it.1));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_plain_text_without_what_a_terminal_obeys() {
        let mut filter = Filter::new();
        let passed = filter.pass(b"\x1b[32mok\x1b[0m \x1b[2Jm\x1b]0;title\x07 end\n");
        assert_eq!(without_colours(&passed), "ok m end\n");
    }
}
