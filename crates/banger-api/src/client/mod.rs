//! A client of the daemon, for threads that may block.
//!
//! Every request is a method (`verbs.rs`). Events and consoles are streams, which their reader can
//! end at any time ([`CancelToken`]).
//!
//! Each request has its own connection, and names the version of the API in a header. A response
//! with another version is an error.

mod command;
mod exec;
mod stream;
mod verbs;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::{API_HEADER, API_VERSION, Code, Error, Line, Progress, REQUEST_HEADER, Result};
use stream::Lines;

pub use command::{Command, CommandEnd, OutputStream};
pub use exec::{ConnectStream, ExecStream};
pub use stream::{CancelToken, Events, Pieces};

/// The paths that a daemon of any version serves.
const VERSION: &str = "/v1/version";
const DAEMON: &str = "/v1/daemon";
const DAEMON_STOP: &str = "/v1/daemon/stop";

/// The timeout for a daemon's own state, which it keeps in memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of the daemon behind one socket.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
    request: String,
}

impl Client {
    /// A client of the daemon at `socket`; it does not connect yet.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn new(socket: impl Into<PathBuf>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|cause| {
                Error::new(Code::Internal, "start the client").cause(cause.to_string())
            })?;
        Ok(Self {
            socket: socket.into(),
            runtime,
            request: request_id(),
        })
    }

    /// The id of this client's requests in the daemon's log and events.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.runtime.block_on(async {
            let (answer, _) = self.send(Method::GET, path, Bytes::new()).await?;
            parse(&collect(answer).await?)
        })
    }

    /// Like `get`, for what a daemon answers at once if it works at all.
    fn get_within<T: DeserializeOwned>(&self, path: &str, patience: Duration) -> Result<T> {
        self.runtime.block_on(async {
            let answered = async {
                let (answer, _) = self.send(Method::GET, path, Bytes::new()).await?;
                parse(&collect(answer).await?)
            };
            tokio::time::timeout(patience, answered)
                .await
                .unwrap_or_else(|_| Err(self.is_silent(patience)))
        })
    }

    fn is_silent(&self, patience: Duration) -> Error {
        let (socket, seconds) = (self.socket.display(), patience.as_secs());
        Error::new(
            Code::NotReady,
            format!("the daemon at `{socket}` accepts connections, but has not answered for {seconds} s"),
        )
        .hint("see what it does: banger daemon logs")
        .hint("if it hangs, end bangerd with SIGKILL: VMs keep running, and the next command starts it")
    }

    fn text(&self, path: &str) -> Result<String> {
        self.runtime.block_on(async {
            let (answer, _) = self.send(Method::GET, path, Bytes::new()).await?;
            Ok(String::from_utf8_lossy(&collect(answer).await?).into_owned())
        })
    }

    fn work<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|cause| {
            Error::new(Code::Internal, "write the request").cause(cause.to_string())
        })?;
        self.runtime.block_on(async {
            let (mut answer, _) = self.send(method, path, body.into()).await?;
            let mut lines = Lines::default();
            while let Some(frame) = answer.body_mut().frame().await {
                lines.extend(frame.map_err(broken)?.data_ref().map_or(&[], |it| it));
                for line in lines.by_ref() {
                    match parse::<Line<T>>(&line)? {
                        Line::Progress(progress) => on_progress(progress),
                        Line::Result(result) => return Ok(result),
                        Line::Error(error) => return Err(error),
                    }
                }
            }
            Err(Error::new(
                Code::Internal,
                "the daemon ended before the request was complete",
            )
            .hint("see its state: banger daemon status"))
        })
    }

    fn stream(&self, path: &str) -> Result<Pieces<'_>> {
        let sent = self.send(Method::GET, path, Bytes::new());
        let (answer, socket) = self.runtime.block_on(sent)?;
        Ok(Pieces::new(self, answer.into_body(), socket))
    }

    /// Rejects another user's daemon before anything is exchanged: it would see the request, and
    /// could return its own keys and addresses.
    fn require_ours(&self, stream: &UnixStream) -> Result<()> {
        let socket = self.socket.display();
        let peer = stream.peer_cred().map_err(|cause| {
            Error::new(
                Code::Host,
                format!("find the owner of the daemon at `{socket}`"),
            )
            .cause(cause.to_string())
        })?;
        let (theirs, ours) = (peer.uid(), rustix::process::geteuid().as_raw());
        if is_trusted(theirs, ours) {
            return Ok(());
        }
        Err(Error::new(
            Code::Conflict,
            format!("the daemon at `{socket}` belongs to user {theirs}, and you are user {ours}"),
        )
        .hint(format!(
            "to use that user's VMs, be that user: sudo -u '#{theirs}' banger vm list"
        ))
        .hint("for your own VMs, check BANGER_SOCKET, XDG_RUNTIME_DIR and --socket"))
    }

    /// The response, and a duplicate descriptor of its connection.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, OwnedFd)> {
        self.send_with(method, path, body, None).await
    }

    /// A connection to a daemon of this user or of root.
    async fn dial(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|cause| {
            Error::new(
                Code::NotReady,
                format!("connect to `{}`", self.socket.display()),
            )
            .cause(cause.to_string())
            .hint("is the daemon running? banger daemon status")
        })?;
        self.require_ours(&stream)?;
        Ok(stream)
    }

    /// Like [`Client::send`], with `upgrade` as the protocol that the connection switches to, if
    /// any.
    async fn send_with(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        upgrade: Option<&str>,
    ) -> Result<(Response<Incoming>, OwnedFd)> {
        let stream = self.dial().await?;
        let socket = stream.as_fd().try_clone_to_owned().map_err(|cause| {
            Error::new(Code::Internal, "duplicate the connection's descriptor")
                .cause(cause.to_string())
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "banger")
            .header("content-type", "application/json")
            .header(API_HEADER, API_VERSION.to_string())
            .header(REQUEST_HEADER, &self.request);
        if let Some(protocol) = upgrade {
            request = request
                .header("connection", "upgrade")
                .header("upgrade", protocol);
        }
        let request = request.body(Full::new(body)).map_err(|cause| {
            Error::new(Code::Internal, "make the request").cause(cause.to_string())
        })?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        // A daemon of any version can be queried and stopped, so that a newer one can replace it.
        if ![VERSION, DAEMON, DAEMON_STOP].contains(&path) {
            require_version(&answer)?;
        }
        if [StatusCode::OK, StatusCode::SWITCHING_PROTOCOLS].contains(&answer.status()) {
            return Ok((answer, socket));
        }
        let status = answer.status();
        let body = collect(answer).await?;
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| {
            Error::new(Code::Internal, format!("the daemon answered {status}"))
                .cause(String::from_utf8_lossy(&body).into_owned())
        }))
    }
}

/// A random id; two requests are very unlikely to have the same.
fn request_id() -> String {
    let mut bytes = [0; 6];
    // Without randomness the ids are equal, which only makes the log harder to read.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a client of user `ours` trusts a daemon of user `theirs`: one of the same user, or of
/// root, who can act as any user.
fn is_trusted(theirs: u32, ours: u32) -> bool {
    theirs == ours || theirs == 0
}

/// Rejects the answer of a daemon with another version of the API.
fn require_version(answer: &Response<Incoming>) -> Result<()> {
    let header = answer.headers().get(API_HEADER);
    let theirs = header.and_then(|it| it.to_str().ok());
    if theirs == Some(API_VERSION.to_string().as_str()) {
        return Ok(());
    }
    let theirs = theirs.unwrap_or("unknown");
    Err(Error::new(
        Code::Conflict,
        format!("the daemon uses version {theirs} of the API, this program version {API_VERSION}"),
    )
    .hint("stop the old daemon (VMs keep running): banger daemon stop"))
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn broken(cause: hyper::Error) -> Error {
    Error::new(Code::Internal, "the connection to the daemon broke").cause(cause.to_string())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|cause| {
        Error::new(Code::Internal, "read the daemon's response").cause(cause.to_string())
    })
}

async fn collect(answer: Response<Incoming>) -> Result<Bytes> {
    Ok(answer
        .into_body()
        .collect()
        .await
        .map_err(broken)?
        .to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_accepts_and_does_not_answer_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let client = Client::new(&path).unwrap();
        let seen = client.get_within::<crate::VersionView>(VERSION, Duration::ZERO);
        let error = seen.unwrap_err();
        assert_eq!(error.code, Code::NotReady);
        assert!(error.message.contains("has not answered"), "{error}");
    }

    #[test]
    fn only_a_daemon_of_the_same_user_or_root_is_trusted() {
        assert!(is_trusted(1000, 1000));
        assert!(is_trusted(0, 1000));
        assert!(!is_trusted(1001, 1000));
        assert!(!is_trusted(1000, 0), "root does not trust other users");
    }
}
