//! The resolver: `<name>.vm` on loopback, UDP and TCP, authoritative, and nothing else.
//!
//! It does not recurse: queries for other zones are refused. Answers are a pure function
//! ([`answer`]); this file only receives and sends packets, with bounds on every wait and count.
//!
//! A separate thread serves datagrams by `recvfrom`: two system calls per query, where a socket of
//! the runtime needs four.

mod answer;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

use banger_host::KeptPort;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use answer::{Transport, answer};

/// The number of simultaneous TCP clients; others wait in the listener's queue.
const CONNECTIONS: usize = 64;

/// Timeout for reading a query or writing an answer over TCP.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of queries per TCP connection.
const QUESTIONS: usize = 100;

/// The longest query, in bytes. One with EDNS has 300.
const LONGEST: usize = 4096;

/// The pause after an error that may repeat at once, such as no free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The source of VMs' names and addresses.
pub(crate) trait Names: Send + Sync {
    /// The address of the VM with this name (in lower case): `None` for an unknown name,
    /// `Some(None)` for a VM without its own address. Called for each query, so it must not block.
    fn address(&self, name: &str) -> Option<Option<Ipv4Addr>>;
}

/// The two sockets of the resolver, on the same port of 127.0.0.1.
#[derive(Debug)]
pub(crate) struct Sockets {
    udp: UdpSocket,
    tcp: StdTcpListener,
    /// A descriptor that has to stay open while the sockets are used, if root passed them.
    held: Option<OwnedFd>,
}

impl Sockets {
    /// The sockets that root reserved.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn kept(port: KeptPort) -> io::Result<Self> {
        let KeptPort { udp, tcp, held } = port;
        tcp.set_nonblocking(true)?;
        Ok(Self {
            udp,
            tcp,
            held: Some(held),
        })
    }

    /// Their address.
    ///
    /// # Errors
    /// None in practice.
    #[cfg(test)]
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

/// Binds both sockets to `port` of 127.0.0.1; 0 takes any free port. Needs no runtime.
///
/// # Errors
/// The port is in use, or below 1024 and not permitted.
pub(crate) fn bind(port: u16) -> io::Result<Sockets> {
    // A port may be free for one protocol and in use for the other.
    let attempts = if port == 0 { 20 } else { 1 };
    let mut outcome = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..attempts {
        outcome = bind_both(port);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn bind_both(port: u16) -> io::Result<Sockets> {
    // The standard library sets SO_REUSEADDR on the listener, so lingering connections of an
    // earlier daemon do not block the port.
    let tcp = StdTcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, tcp.local_addr()?.port()))?;
    tcp.set_nonblocking(true)?;
    Ok(Sockets {
        udp,
        tcp,
        held: None,
    })
}

/// Answers queries until `stop` completes.
///
/// # Errors
/// Outside of a tokio runtime with I/O.
pub(crate) async fn serve(
    sockets: Sockets,
    names: Arc<dyn Names>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let tcp = TcpListener::from_std(sockets.tcp)?;
    let _held = sockets.held;
    let _datagrams = Datagrams::serve(sockets.udp, Arc::clone(&names))?;
    tokio::select! {
        () = serve_tcp(&tcp, names) => {}
        () = stop => {}
    }
    Ok(())
}

/// The thread that answers datagrams, until this is dropped.
#[derive(Debug)]
struct Datagrams {
    address: SocketAddr,
    /// The thread ends once this is dropped.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Datagrams {
    fn serve(socket: UdpSocket, names: Arc<dyn Names>) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        // The wake-up of `drop` may be lost for lack of memory.
        socket.set_read_timeout(Some(PATIENCE))?;
        let address = socket.local_addr()?;
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || serve_udp(&socket, &*names, &stopped))?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.stop = None;
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(&[], self.address);
        }
        // The port is free once the thread has ended.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve_udp(socket: &UdpSocket, names: &dyn Names, stopped: &Receiver<()>) {
    let mut packet = vec![0; LONGEST];
    while stopped.try_recv() != Err(TryRecvError::Disconnected) {
        match socket.recv_from(&mut packet) {
            Ok((length, from)) => {
                if let Some(reply) = answer(&packet[..length], names, Transport::Udp) {
                    // A client that misses the answer repeats the query.
                    let _ = socket.send_to(&reply, from);
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            // The client of an earlier answer has gone (ICMP), or the host is short of memory.
            Err(_) => match stopped.recv_timeout(PAUSE / 10) {
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            },
        }
    }
}

async fn serve_tcp(listener: &TcpListener, names: Arc<dyn Names>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    // It is dropped with this future, and every connection with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let names = Arc::clone(&names);
                connections.spawn(async move {
                    // Errors of a client that disconnects are ignored.
                    let _ = converse(stream, &*names).await;
                    drop(seat);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Answers the queries of one TCP client, each preceded by its length (RFC 1035, 4.2.2).
async fn converse(mut stream: TcpStream, names: &dyn Names) -> io::Result<()> {
    for _ in 0..QUESTIONS {
        let Some(packet) = timeout(PATIENCE, question(&mut stream)).await?? else {
            break;
        };
        let Some(reply) = answer(&packet, names, Transport::Tcp) else {
            break;
        };
        let Ok(length) = u16::try_from(reply.len()) else {
            break;
        };
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&reply);
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

async fn question(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = usize::from(stream.read_u16().await?);
    if length > LONGEST {
        return Ok(None);
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    Ok(Some(packet))
}

#[cfg(test)]
mod tests;
