//! `banger vm forward -R`: a guest listens, and what connects there reaches one service of this machine.

use std::io::{BufReader, Chain, Cursor};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::Duration;

use banger_api::forward::read_listen_line;
use banger_api::listener::dial;
use banger_api::{Code, Endpoint, Error, ListenLine, Result};

use super::carry::{Route, join};
use super::{ListenerView, Rule};
use crate::output::clean;
use crate::poll;

/// The first and the longest pause before a guest is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The most connections of a guest that are carried at the same time.
const MOST_CONNECTIONS: usize = 64;

/// What a guest that listens says.
type Lines = BufReader<Chain<Cursor<Vec<u8>>, UnixStream>>;

/// A guest that listens, or that will when its VM runs.
pub(super) struct GuestPort {
    route: Arc<Route>,
    /// Where: the port that was given for 0.
    pub(super) at: Endpoint,
    lines: Option<Lines>,
    carried: Arc<AtomicUsize>,
}

impl GuestPort {
    /// Has the guest listen. A VM that does not run listens later.
    ///
    /// # Errors
    /// The guest refuses, such as because the port is in use there.
    pub(super) fn open(route: Arc<Route>, rule: &Rule) -> Result<Self> {
        let at = rule.listen.clone();
        let (lines, at) = match begin(&route, &at) {
            Ok((lines, at)) => (Some(lines), at),
            Err(error) if error.code == Code::Conflict => (None, at),
            Err(error) => return Err(error),
        };
        let carried = Arc::default();
        Ok(Self {
            route,
            at,
            lines,
            carried,
        })
    }

    /// Whether its port is chosen when the VM runs.
    pub(super) fn is_open_later(&self) -> bool {
        self.lines.is_none() && matches!(self.at, Endpoint::Tcp(_, 0))
    }

    /// Takes connections until this process ends, and has the guest listen again after a restart.
    pub(super) fn serve(mut self, vm: &str) {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(lines) = self.lines.take() {
                self.take_connections(lines);
                pause = FIRST_PAUSE;
            }
            poll::pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            match begin(&self.route, &self.at) {
                Ok((lines, at)) => {
                    *self.route.last_failure() = None;
                    if at != self.at {
                        self.at = at;
                        self.tell(vm);
                    }
                    self.lines = Some(lines);
                }
                Err(error) => self.route.warn(&error.to_string()),
            }
        }
    }

    /// Prints where it listens. A reader that has gone ends nothing here: the guest listens.
    fn tell(&self, vm: &str) {
        let view = ListenerView {
            vm,
            listen: self.at.clone(),
            target: &self.route.target,
            reverse: true,
        };
        let _ = ListenerView::print(&[view], self.route.output);
    }

    fn take_connections(&self, mut lines: Lines) {
        while let Ok(Some(ListenLine::Connection(number))) = read_listen_line(&mut lines) {
            // What is not carried, the guest closes after a while.
            let Some(permit) = Permit::of(&self.carried) else {
                self.route.warn(&format!(
                    "the VM has {MOST_CONNECTIONS} connections to {}; it waits for the end of one",
                    self.route.target
                ));
                continue;
            };
            let route = Arc::clone(&self.route);
            let _ = Builder::new()
                .name("connection".to_owned())
                .spawn(move || carry(&route, number, permit));
        }
    }
}

/// One of the connections that are carried at the same time.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn of(carried: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |now| (now < MOST_CONNECTIONS).then_some(now + 1);
        carried
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()
            .map(|_| Self(Arc::clone(carried)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the connection reaches is this command's word, and nothing that the guest says. The service
/// hears only of connections that there are.
fn carry(route: &Route, number: u64, permit: Permit) {
    match route.ask(|daemon| daemon.accept(&route.vm, number)) {
        Ok(stream) => match dial(&route.target) {
            Ok(service) => {
                *route.last_failure() = None;
                join(service, stream);
            }
            // The client in the guest sees the end of its connection.
            Err(cause) => route.warn(&format!("connect to {}: {cause}", route.target)),
        },
        Err(error) => route.warn(&error.to_string()),
    }
    drop(permit);
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
