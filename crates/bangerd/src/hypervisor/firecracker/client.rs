//! A client of Firecracker's API: HTTP over its Unix socket, with a connection and a deadline for
//! each request.
//!
//! hyper implements the protocol, on a runtime of this thread's own, because the engine's threads
//! block.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::requests::Request;
use crate::error::chain;
use crate::guest::channel::connect;

/// The longest answer accepted, in bytes.
const LONGEST: usize = 64 << 10;

/// The reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Firecracker rejected it, with this reason.
    Refused(String),
    /// It did not answer in time.
    Silent(Duration),
    /// The connection broke, or the peer is not Firecracker.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(fault) => f.write_str(fault),
            Self::Silent(patience) => {
                write!(f, "no answer within {:.1} s", patience.as_secs_f64())
            }
            Self::Broken(cause) => f.write_str(cause),
        }
    }
}

/// A client of the Firecracker behind one socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
    runtime: Runtime,
}

impl Client {
    /// A client of the Firecracker at `socket`; it does not connect yet.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub(super) fn new(socket: &Path) -> std::io::Result<Self> {
        Ok(Self {
            socket: socket.to_owned(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    /// Sends a request and returns the body of the answer. Until it arrives, `gives_up` is called
    /// after each `wait`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) fn send(
        &self,
        request: &Request,
        wait: Duration,
        mut gives_up: impl FnMut() -> bool,
    ) -> Result<Bytes, Failure> {
        self.runtime.block_on(async {
            let mut exchange = std::pin::pin!(self.exchange(request));
            let began = Instant::now();
            loop {
                if let Ok(answer) = tokio::time::timeout(wait, &mut exchange).await {
                    return answer;
                }
                if gives_up() {
                    return Err(Failure::Silent(began.elapsed()));
                }
            }
        })
    }

    async fn exchange(&self, request: &Request) -> Result<Bytes, Failure> {
        let stream = connect(&self.socket).map_err(|cause| broken(&cause))?;
        stream
            .set_nonblocking(true)
            .map_err(|cause| broken(&cause))?;
        let stream = UnixStream::from_std(stream).map_err(|cause| broken(&cause))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| broken(&cause))?;
        tokio::spawn(connection);
        let body = request.body().map_err(|cause| broken(&cause))?;
        let request = hyper::Request::builder()
            .method(request.method())
            .uri(request.path())
            .header("host", "firecracker")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|cause| broken(&cause))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|cause| broken(&cause))?;
        read(answer).await
    }
}

async fn read(answer: Response<Incoming>) -> Result<Bytes, Failure> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    let body = body.map_err(|cause| broken(&*cause))?.to_bytes();
    match status {
        StatusCode::OK | StatusCode::NO_CONTENT => Ok(body),
        _ => Err(Failure::Refused(fault(status, &body))),
    }
}

/// Firecracker's own description of the fault.
fn fault(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Fault {
        fault_message: String,
    }
    match serde_json::from_slice::<Fault>(body) {
        Ok(fault) => fault.fault_message.trim().to_owned(),
        Err(_) => format!("status {status}: {}", String::from_utf8_lossy(body).trim()),
    }
}

fn broken(cause: &dyn std::error::Error) -> Failure {
    Failure::Broken(chain(cause))
}
