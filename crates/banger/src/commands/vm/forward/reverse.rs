//! `banger vm forward -R`: a guest listens, and what connects there reaches one service of this machine.

use std::io::{BufReader, Chain, Cursor};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use banger_api::forward::read_listen_line;
use banger_api::listener::dial;
use banger_api::{Code, Endpoint, Error, ListenLine, Result};

use super::Rule;
use super::carry::{Route, join};
use crate::output::clean;
use crate::poll;

/// The first and the longest pause before a guest is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a guest that listens says.
type Lines = BufReader<Chain<Cursor<Vec<u8>>, UnixStream>>;

/// A guest that listens, or that will when its VM runs.
pub(super) struct GuestPort {
    route: Arc<Route>,
    /// Where: the port that was given for 0.
    pub(super) at: Endpoint,
    lines: Option<Lines>,
}

impl GuestPort {
    /// Has the guest listen. A VM that does not run listens later.
    ///
    /// # Errors
    /// The guest refuses, such as because the port is in use there.
    pub(super) fn open(route: Arc<Route>, rule: &Rule) -> Result<Self> {
        let at = rule.listen.clone();
        match begin(&route, &at) {
            Ok((lines, at)) => Ok(Self {
                route,
                at,
                lines: Some(lines),
            }),
            Err(error) if error.code == Code::Conflict => Ok(Self {
                route,
                at,
                lines: None,
            }),
            Err(error) => Err(error),
        }
    }

    /// Takes connections until this process ends, and has the guest listen again after a restart.
    pub(super) fn serve(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(lines) = self.lines.take() {
                self.take_connections(lines);
                pause = FIRST_PAUSE;
            }
            poll::pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            match begin(&self.route, &self.at) {
                Ok((lines, _)) => {
                    *self.route.last_failure() = None;
                    self.lines = Some(lines);
                }
                Err(error) => self.route.warn(&error.to_string()),
            }
        }
    }

    fn take_connections(&self, mut lines: Lines) {
        while let Ok(Some(ListenLine::Connection(number))) = read_listen_line(&mut lines) {
            let route = Arc::clone(&self.route);
            // Without a thread the guest closes the connection after a while.
            let _ = Builder::new()
                .name("connection".to_owned())
                .spawn(move || carry(&route, number));
        }
    }
}

/// What the connection reaches is this command's word, and nothing that the guest says.
fn carry(route: &Route, number: u64) {
    let service = dial(&route.target);
    // A client in the guest sees the end of one that leads nowhere, too.
    let accepted = route.ask(|daemon| daemon.accept(&route.vm, number));
    match (service, accepted) {
        (Ok(service), Ok(stream)) => {
            *route.last_failure() = None;
            join(service, stream);
        }
        (Err(cause), _) => route.warn(&format!("connect to {}: {cause}", route.target)),
        (_, Err(error)) => route.warn(&error.to_string()),
    }
}

fn begin(route: &Route, at: &Endpoint) -> Result<(Lines, Endpoint)> {
    let stream = route.ask(|daemon| daemon.listen(&route.vm, at))?;
    let failed =
        |cause: String| Error::new(Code::Guest, format!("have the VM listen at {at}")).cause(cause);
    let early = Cursor::new(stream.early);
    let mut lines = BufReader::new(std::io::Read::chain(early, stream.socket));
    match read_listen_line(&mut lines) {
        Ok(Some(ListenLine::Listening(port))) => {
            let at = match at {
                Endpoint::Tcp(host, 0) => Endpoint::Tcp(*host, port),
                other => other.clone(),
            };
            Ok((lines, at))
        }
        Ok(Some(ListenLine::Refused(reason))) => Err(failed(clean(&reason).to_string())),
        Ok(Some(ListenLine::Connection(_)) | None) => {
            Err(failed("the guest does not listen".to_owned()))
        }
        Err(cause) => Err(failed(cause.to_string())),
    }
}
