//! A port or a socket of a guest that reaches one service of the host.
//!
//! The guest only tells that somebody has connected, with a number. What the connection reaches is
//! fixed here, so nothing that a guest says chooses it.

use std::io::{BufReader, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

use banger_api::forward::read_listen_line;
use banger_api::listener::dial;
use banger_api::{Code, Endpoint, Error, Forward, ForwardState, ListenLine, VmId};
use banger_guest::streams::read_line;

use super::super::connect::{Connection, Permit, plain};
use super::super::{Engine, lock};
use crate::error::Result;
use crate::vm::Vm;

/// Timeout for a guest to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first and the longest pause before a guest is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The stack of a thread, in bytes.
const STACK: usize = 256 << 10;

/// A listener in a guest, and the thread that hears of its connections. Dropping it closes the
/// port; connections stay.
#[derive(Debug)]
pub(super) struct GuestPort(Arc<Shared>);

/// A guest that listens.
#[derive(Debug)]
pub(super) struct GuestListener {
    connection: Connection,
    lines: BufReader<UnixStream>,
    /// Where: the port that was given for 0.
    pub(super) at: Endpoint,
}

#[derive(Debug)]
struct Shared {
    engine: Weak<Engine>,
    vm: VmId,
    forward: Forward,
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    is_over: bool,
    /// The stream of the guest that listens, to end it.
    stream: Option<UnixStream>,
    failure: Option<String>,
}

impl GuestListener {
    /// Has a guest listen.
    ///
    /// # Errors
    /// `guest` if it does not, such as on a port that is in use there.
    pub(super) fn begin(engine: &Engine, vm: &Vm, at: &Endpoint) -> Result<Self> {
        let connection = engine.listen_in(vm, at)?;
        let failed = |cause: String| {
            Error::new(Code::Guest, format!("listen at {at} in `{}`", vm.name)).cause(cause)
        };
        let read = connection.guest().try_clone().and_then(|stream| {
            // A guest that drips is silent at the deadline, too.
            let mut line = read_line(&stream, Instant::now() + PATIENCE)?;
            line.push(b'\n');
            let line = read_listen_line(&mut line.as_slice())?;
            Ok((BufReader::new(stream), line))
        });
        match read {
            Ok((lines, Some(ListenLine::Listening(port)))) => {
                let at = match at {
                    Endpoint::Tcp(host, 0) => Endpoint::Tcp(*host, port),
                    other => other.clone(),
                };
                Ok(Self {
                    connection,
                    lines,
                    at,
                })
            }
            Ok((_, Some(ListenLine::Refused(reason)))) => Err(failed(plain(&reason))),
            Ok((_, Some(ListenLine::Connection(_)))) => {
                Err(failed("the guest's answer is not understood".to_owned()))
            }
            Ok((_, None)) => Err(failed("the guest closed the stream".to_owned())),
            Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(failed("the guest does not answer".to_owned()))
            }
            Err(cause) => Err(failed(format!("the guest's answer: {cause}"))),
        }
    }
}

impl GuestPort {
    /// Keeps a guest listening, from what it has begun if it has.
    pub(super) fn start(
        engine: &Weak<Engine>,
        vm: VmId,
        forward: &Forward,
        begun: Option<GuestListener>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            engine: engine.clone(),
            vm,
            forward: forward.clone(),
            now: Mutex::default(),
            changed: Condvar::new(),
        });
        if let Some(listening) = &begun {
            lock(&shared.now).stream = listening.connection.guest().try_clone().ok();
        }
        let theirs = Arc::clone(&shared);
        Builder::new()
            .name("forward".to_owned())
            .stack_size(STACK)
            .spawn(move || theirs.run(begun))
            .map_err(|cause| Error::new(Code::Host, "start a thread").cause(cause.to_string()))?;
        Ok(Self(shared))
    }

    /// How it is, and why it failed.
    pub(super) fn state(&self) -> (ForwardState, Option<String>) {
        let now = lock(&self.0.now);
        match (&now.stream, &now.failure) {
            (Some(_), _) => (ForwardState::Listening, None),
            (None, Some(reason)) => (ForwardState::Failed, Some(reason.clone())),
            (None, None) => (ForwardState::Waiting, None),
        }
    }
}

impl Drop for GuestPort {
    fn drop(&mut self) {
        let mut now = lock(&self.0.now);
        now.is_over = true;
        if let Some(stream) = now.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(now);
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn run(self: &Arc<Self>, begun: Option<GuestListener>) {
        let mut next = begun;
        let mut pause = FIRST_PAUSE;
        loop {
            match next.take().map_or_else(|| self.begin(), Ok) {
                Ok(listening) => {
                    pause = FIRST_PAUSE;
                    self.serve(listening);
                    self.change(None);
                }
                Err(error) => self.change(Some(error.to_string())),
            }
            if self.is_over_after(pause) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn begin(&self) -> Result<GuestListener> {
        let (engine, vm) = self.vm()?;
        let listening = GuestListener::begin(&engine, &vm, &self.forward.listen)?;
        let stream = listening.connection.guest().try_clone();
        let mut now = lock(&self.now);
        if now.is_over {
            return Err(gone());
        }
        now.stream = stream.ok();
        now.failure = None;
        drop(now);
        engine.tell(self.vm);
        Ok(listening)
    }

    /// The engine and the VM, while both are there.
    fn vm(&self) -> Result<(Arc<Engine>, Arc<Vm>)> {
        let engine = self.engine.upgrade().ok_or_else(gone)?;
        let slot = lock(&engine.vms).get(&self.vm).cloned().ok_or_else(gone)?;
        Ok((engine, slot.vm()))
    }

    /// It does not listen now, for this reason.
    fn change(&self, failure: Option<String>) {
        let mut now = lock(&self.now);
        let is_news = now.stream.take().is_some() || now.failure != failure;
        now.failure = failure;
        let tells = is_news && !now.is_over;
        drop(now);
        if let (true, Some(engine)) = (tells, self.engine.upgrade()) {
            engine.tell(self.vm);
        }
    }

    /// Waits so long; whether it is over.
    fn is_over_after(&self, pause: Duration) -> bool {
        let now = lock(&self.now);
        let waited = self
            .changed
            .wait_timeout_while(now, pause, |now| !now.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    /// Takes the connections that the guest tells of, until it says nothing more.
    fn serve(self: &Arc<Self>, mut listening: GuestListener) {
        while let Ok(Some(ListenLine::Connection(number))) = read_listen_line(&mut listening.lines)
        {
            // Without a permit the guest closes it after a while.
            let permit = self.vm().and_then(|(engine, vm)| engine.permit(&vm));
            let Ok(permit) = permit else { continue };
            let shared = Arc::clone(self);
            let _ = Builder::new()
                .name("connection".to_owned())
                .stack_size(STACK)
                .spawn(move || shared.carry(number, permit));
        }
    }

    fn carry(&self, number: u64, permit: Permit) {
        let accepted = self
            .vm()
            .and_then(|(engine, vm)| engine.accept_from(&vm, permit, number));
        // The service hears only of connections that there are.
        match accepted.map(|connection| (connection, dial(&self.forward.target))) {
            Ok((connection, Ok(service))) => connection.join(&service),
            // The client in the guest sees the end of its connection.
            Ok((_, Err(cause))) => {
                let (vm, forward) = (self.vm, &self.forward);
                tracing::debug!(%vm, %forward, %cause, "the service is not reached");
            }
            Err(error) => {
                tracing::debug!(vm = %self.vm, error = error.report(), "a connection of a guest");
            }
        }
    }
}

fn gone() -> Error {
    Error::new(Code::NotFound, "the VM is gone")
}
