//! The resolver: `<name>.vm` on loopback, UDP and TCP, authoritative, and nothing else.
//!
//! It never asks anybody, so it cannot be made to: other zones are refused. What a packet is
//! answered with is a pure function ([`answer`]); this file only moves packets, with every wait
//! and every number bounded.
//!
//! Datagrams have a thread of their own that sleeps in `recvfrom`: two system calls for each question,
//! where a socket of the runtime takes four.

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

/// How many TCP clients are served at once; the others wait in the listener's queue.
const CONNECTIONS: usize = 64;

/// How long a TCP client may take for a question, or for taking its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many questions one TCP connection may bring.
const QUESTIONS: usize = 100;

/// The longest question, in bytes. One question with EDNS has 300.
const LONGEST: usize = 4096;

/// How long to wait after an error that may come back at once, such as no free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Who knows the VMs' names and addresses.
pub trait Names: Send + Sync {
    /// The address of the VM of this name (in lower case): nothing for an unknown name, and
    /// `Some(None)` for a VM that has no address of its own. Called for each question, so it
    /// shall not wait.
    fn address(&self, name: &str) -> Option<Option<Ipv4Addr>>;
}

/// The two sockets of the resolver, on the same port of 127.0.0.1.
#[derive(Debug)]
pub struct Sockets {
    udp: UdpSocket,
    tcp: StdTcpListener,
    /// What has to stay open for as long as both are used, where they were handed to us.
    held: Option<OwnedFd>,
}

impl Sockets {
    /// Those that root has kept for us.
    ///
    /// # Errors
    /// None that can be met in practice.
    pub fn kept(port: KeptPort) -> io::Result<Self> {
        let KeptPort { udp, tcp, held } = port;
        tcp.set_nonblocking(true)?;
        Ok(Self {
            udp,
            tcp,
            held: Some(held),
        })
    }

    /// Where they are bound.
    ///
    /// # Errors
    /// None that can be met in practice.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

/// Binds both sockets to `port` of 127.0.0.1; 0 takes any free port. Needs no runtime.
///
/// # Errors
/// When the port is taken, or below 1024 and not ours to take.
pub fn bind(port: u16) -> io::Result<Sockets> {
    // A port that is free for one protocol can be taken for the other.
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
    // The standard library sets SO_REUSEADDR on the listener, so connections of an earlier
    // daemon that linger do not keep it from the port.
    let tcp = StdTcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, tcp.local_addr()?.port()))?;
    tcp.set_nonblocking(true)?;
    Ok(Sockets {
        udp,
        tcp,
        held: None,
    })
}

/// Answers questions until `stop` is done.
///
/// # Errors
/// Outside of a tokio runtime with I/O.
pub async fn serve(
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
    /// The thread ends once this is gone.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Datagrams {
    fn serve(socket: UdpSocket, names: Arc<dyn Names>) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        // The wake-up call of `drop` may be lost for want of memory.
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
                    // Who does not take the answer asks again.
                    let _ = socket.send_to(&reply, from);
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            // The client of an earlier answer is gone (ICMP), or the host is short of memory.
            Err(_) => match stopped.recv_timeout(PAUSE / 10) {
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            },
        }
    }
}

async fn serve_tcp(listener: &TcpListener, names: Arc<dyn Names>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropped with this future, and every connection with it.
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
                    // A client that breaks off is no concern of ours.
                    let _ = converse(stream, &*names).await;
                    drop(seat);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Answers the questions of one TCP client, each with its length before it (RFC 1035, 4.2.2).
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
