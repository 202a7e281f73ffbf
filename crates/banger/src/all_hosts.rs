//! Requests to every host that the user has named, and to this machine.
//!
//! All requests run at once, for at most [`PATIENCE`]: a laptop that is off, or a network that
//! drops every packet, becomes one line of the output. ssh does not prompt on the terminal
//! meanwhile.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use banger_api::client::Client;
use banger_api::{Code, Error, Result};

use crate::connect;
use crate::paths::Paths;
use crate::remote::{Contexts, LOCAL, Prompts, contexts_file};
use crate::session::Session;

/// How long all hosts together may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The file that every daemon leaves in its state directory.
const MARK: &str = "kind";

/// The answers of the hosts, in the order of their names; this machine comes first.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    /// Those that answered.
    pub(crate) heard: Vec<(String, T)>,
    /// The hosts that did not answer, with the reasons.
    pub(crate) silent: Vec<(String, Error)>,
}

/// Sends a request to every host. This machine is included if a daemon has run on it: a machine
/// without VMs of its own needs no daemon.
///
/// # Errors
/// If the file of named hosts cannot be read.
pub(crate) fn ask<T: Send + 'static>(
    session: &Session,
    question: fn(&Client) -> Result<T>,
) -> Result<Answers<T>> {
    let here = Paths {
        remote: None,
        ..session.places.clone()
    };
    let contexts = Contexts::read(&contexts_file(&here.location.config))?;
    let mut asked = Vec::new();
    if here.location.state.join(MARK).is_file() {
        asked.push(LOCAL.to_owned());
    }
    asked.extend(contexts.hosts.keys().cloned());
    let (sender, receiver) = mpsc::channel();
    for name in &asked {
        let (sender, name, output) = (sender.clone(), name.clone(), session.output);
        let places = places_of(&here, &name, &contexts);
        std::thread::spawn(move || {
            let answer = places
                .and_then(connected)
                .and_then(|places| connect::or_start(&places, output))
                .and_then(|client| question(&client));
            // The receiver is dropped if this took too long.
            let _ = sender.send((name, answer));
        });
    }
    drop(sender);
    let deadline = Instant::now() + PATIENCE;
    let mut answers = BTreeMap::new();
    let left = || deadline.saturating_duration_since(Instant::now());
    while let Ok((name, answer)) = receiver.recv_timeout(left()) {
        answers.insert(name, answer);
    }
    let mut all = Answers {
        heard: Vec::new(),
        silent: Vec::new(),
    };
    for name in asked {
        match answers.remove(&name) {
            Some(Ok(answer)) => all.heard.push((name, answer)),
            Some(Err(error)) => all.silent.push((name, error)),
            None => {
                let text = format!("no answer within {} s", PATIENCE.as_secs());
                all.silent.push((name, Error::new(Code::NotReady, text)));
            }
        }
    }
    Ok(all)
}

/// A session with the host of this name.
///
/// # Errors
/// If there is no such host, or it does not answer.
pub(crate) fn session_with(session: &Session, name: &str) -> Result<Session> {
    let contexts = Contexts::read(&contexts_file(&session.places.location.config))?;
    let here = Paths {
        remote: None,
        ..session.places.clone()
    };
    let places = connected(places_of(&here, name, &contexts)?)?;
    Ok(Session::new(places, session.output))
}

fn places_of(here: &Paths, name: &str, contexts: &Contexts) -> Result<Paths> {
    let remote = here.find_host(name, contexts)?;
    Ok(Paths {
        sim: here.sim && remote.is_none(),
        remote,
        ..here.clone()
    })
}

fn connected(mut places: Paths) -> Result<Paths> {
    if let Some(remote) = &places.remote {
        places.location.socket = remote.connect(Prompts::Refused)?;
    }
    Ok(places)
}
