//! The server: HTTP/1.1 with JSON on a Unix socket. It decides nothing; the engine does.
//!
//! ```text
//! socket ─► permit ─► connection ─► routes ─► work    a verb, on a thread of its own
//!                                         ├─► stream  events, a followed console
//!                                         ├─► ask     something short
//!                                         ├─► exec    a command in a guest
//!                                         ├─► connect a connection to a port of a guest
//!                                         └─► console a client at a console
//! ```
//!
//! A connection carries one request. Connecting costs microseconds on a Unix socket, and this way a
//! connection is either idle, and may be closed, or in the middle of its response.

mod connect;
mod console;
mod exec;
mod lifeline;
mod reply;
mod request;
mod routes;
mod shutdown;
mod socket;
mod stream;
mod upgrade;
mod work;

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use banger_api::{API_HEADER, API_VERSION, Code, Error};
use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

pub(crate) use shutdown::Shutdown;
pub(crate) use socket::{Socket, listen};

use crate::engine::Engine;

/// The number of simultaneous clients.
const CONNECTIONS: usize = 512;

/// Timeout for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Timeout for pending responses and verbs when the daemon stops. Recovery handles a verb that
/// takes longer.
const DRAIN: Duration = Duration::from_secs(5);

/// The interval at which the server checks that its socket still exists.
const LOOK: Duration = Duration::from_secs(2);

/// The pause after an error that may repeat at once, such as no free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The stack size of each thread, in bytes. Only touched pages use memory.
const STACK: usize = 1 << 20;

/// The largest head of a request, in bytes.
const HEAD: usize = 64 << 10;

/// The state that every request shares.
#[derive(Clone)]
struct App {
    engine: Arc<Engine>,
    shutdown: Shutdown,
    /// A permit for each stream.
    streams: Arc<Semaphore>,
    /// A permit for each command in a guest.
    commands: Arc<Semaphore>,
    /// Held by each running verb; nothing is ever sent.
    at_work: mpsc::Sender<Infallible>,
    /// The OpenAPI document.
    document: Arc<str>,
}

/// The runtime of the server and the resolver. Verbs run on its blocking threads, of which there
/// are enough for all connections, so no verb waits for another's thread.
///
/// # Errors
/// If the process has no threads or descriptors left.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2 * CONNECTIONS)
        .thread_stack_size(STACK)
        .thread_name("bangerd")
        .enable_all()
        .build()
}

/// The permits of clients.
///
/// An idle client keeps its permit until another needs it: if none is left, the client that has
/// been idle longest is disconnected. So a thousand idle clients do not lock out others.
struct Clients {
    permits: Arc<Semaphore>,
    /// Wakes idle clients, one at a time, the oldest first.
    crowded: Notify,
}

impl Clients {
    async fn permit(&self) -> io::Result<OwnedSemaphorePermit> {
        if self.permits.available_permits() == 0 {
            self.crowded.notify_one();
        }
        let permit = Semaphore::acquire_owned(Arc::clone(&self.permits)).await;
        // A notification that found no idle client must not reach the next one.
        let _ = self.crowded.notified().now_or_never();
        permit.map_err(io::Error::other)
    }
}

/// Serves until `shutdown` begins, then ends pending requests within a few seconds.
///
/// # Errors
/// Outside of a tokio runtime with I/O and time.
pub(crate) async fn serve(
    socket: Socket,
    engine: Arc<Engine>,
    shutdown: Shutdown,
) -> io::Result<()> {
    let (at_work, mut all_done) = mpsc::channel(1);
    let app = App {
        engine,
        shutdown: shutdown.clone(),
        streams: Arc::new(Semaphore::new(stream::STREAMS)),
        commands: Arc::new(Semaphore::new(exec::COMMANDS)),
        at_work,
        document: "".into(),
    };
    let (router, _) = routes::router(app);
    let mut connections = JoinSet::new();
    // The socket's file is removed first, so that no new clients connect.
    accept_all(socket, &router, &mut connections, &shutdown).await?;
    drop(router);
    let drained = timeout(DRAIN, async {
        while connections.join_next().await.is_some() {}
        // Ends when the last verb has dropped its sender.
        let _ = all_done.recv().await;
    });
    if drained.await.is_err() {
        tracing::warn!("the daemon ends with work under way; its next start puts that right");
    }
    Ok(())
}

async fn accept_all(
    mut socket: Socket,
    router: &axum::Router,
    connections: &mut JoinSet<()>,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let clients = Arc::new(Clients {
        permits: Arc::new(Semaphore::new(CONNECTIONS)),
        crowded: Notify::new(),
    });
    let mut listener = socket.listener()?;
    let mut look = interval(LOOK);
    let mut stranger_seen = false;
    let ours = rustix::process::geteuid().as_raw();
    loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => return Ok(()),
            Some(_) = connections.join_next() => {}
            _ = look.tick() => return_to_path(&mut socket, &mut listener),
            accepted = next(&listener, &clients) => match accepted {
                Ok((stream, permit)) => {
                    let theirs = stream.peer_cred().map(|peer| peer.uid());
                    if theirs.as_ref().is_ok_and(|uid| socket::is_admitted(*uid, ours)) {
                        let (clients, shutdown) = (Arc::clone(&clients), shutdown.clone());
                        connections.spawn(converse(stream, router.clone(), clients, permit, shutdown));
                    } else {
                        if !stranger_seen {
                            tracing::warn!(?theirs, "rejected a client of another user");
                        }
                        stranger_seen = true;
                        turn_away(&stream);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a client");
                    clients.crowded.notify_one();
                    sleep(PAUSE).await;
                }
            },
        }
    }
}

/// Accepts the next client, and waits for a permit.
async fn next(
    listener: &UnixListener,
    clients: &Clients,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let permit = clients.permit().await?;
    Ok((listener.accept().await?.0, permit))
}

/// Listens again if the socket's file is missing: a logout clears the runtime directory, and the
/// daemon keeps running.
fn return_to_path(socket: &mut Socket, listener: &mut UnixListener) {
    if socket.is_there() {
        return;
    }
    // It fails while the runtime directory is missing, which needs no log entry.
    if let Ok(new) = listen(socket.path())
        && let Ok(new_listener) = new.listener()
    {
        tracing::info!(path = %new.path().display(), "the socket was missing and exists again");
        *listener = new_listener;
        *socket = new;
    }
}

/// Serves one client's request.
async fn converse(
    stream: UnixStream,
    router: axum::Router,
    clients: Arc<Clients>,
    permit: OwnedSemaphorePermit,
    shutdown: Shutdown,
) {
    let inner = TowerToHyperService::new(router);
    let (asks, asked) = oneshot::channel::<Infallible>();
    let asks = Cell::new(Some(asks));
    let service = hyper::service::service_fn(move |request| {
        drop(asks.take());
        hyper::service::Service::call(&inner, request)
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut conversation = pin!(conversation);
    // Errors of a client that disconnects or sends garbage are ignored.
    tokio::select! {
        biased;
        _ = &mut conversation => return,
        _ = asked => {}
        () = clients.crowded.notified() => return,
        () = shutdown.begun() => return,
    }
    let _ = conversation.await;
    drop(permit);
}

/// Rejects a client of another user.
fn turn_away(stream: &UnixStream) {
    let error = Error::new(Code::Invalid, "this daemon serves its own user and root");
    let body = reply::line(&error);
    let head = format!(
        "HTTP/1.1 403 Forbidden\r\n{API_HEADER}: {API_VERSION}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.try_write(&[head.as_bytes(), &body[..]].concat());
}

#[cfg(test)]
mod tests;
