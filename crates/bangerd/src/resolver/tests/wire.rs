//! The resolver over real sockets.

use std::net::TcpStream as StdTcpStream;
use std::time::Instant;

use tokio::sync::oneshot;

use super::*;

/// A resolver on a port of its own, until dropped.
struct TestResolver {
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<io::Result<()>>>,
}

impl TestResolver {
    fn new() -> Self {
        let sockets = bind(0).unwrap();
        let address = sockets.address().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = runtime.spawn(serve(sockets, Arc::new(Two), async {
            let _ = stopped.await;
        }));
        Self {
            address,
            runtime: Some(runtime),
            stop: Some(stop),
            served: Some(served),
        }
    }

    fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.address).unwrap();
        socket
    }

    fn tcp(&self) -> StdTcpStream {
        let stream = StdTcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    /// Queries until an answer comes, like every resolver: datagrams are lost when a queue is full.
    fn assert_answers(&self) {
        let socket = self.udp();
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let question = query("calm-otter.vm.", RecordType::A).to_vec().unwrap();
        let mut packet = [0; 600];
        let length = (0..30).find_map(|_| {
            socket.send(&question).unwrap();
            socket.recv(&mut packet).ok()
        });
        let reply = Message::from_vec(&packet[..length.expect("no answer")]).unwrap();
        assert_eq!(addresses(&reply).len(), 1);
    }
}

impl Drop for TestResolver {
    fn drop(&mut self) {
        self.stop.take();
        let served = self.served.take().unwrap();
        self.runtime.take().unwrap().block_on(async {
            timeout(Duration::from_secs(10), served)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
        });
    }
}

fn ask_tcp(stream: &mut StdTcpStream, message: &[u8]) -> io::Result<Message> {
    use std::io::{Read as _, Write as _};
    stream.write_all(&(message.len() as u16).to_be_bytes())?;
    stream.write_all(message)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(Message::from_vec(&reply).unwrap())
}

#[test]
fn it_answers_over_udp_and_tcp() {
    let resolver = TestResolver::new();
    resolver.assert_answers();
    let mut stream = resolver.tcp();
    for _ in 0..3 {
        let message = query("calm-otter.vm.", RecordType::A).to_vec().unwrap();
        assert_eq!(addresses(&ask_tcp(&mut stream, &message).unwrap()).len(), 1);
    }
}

#[test]
fn garbage_over_the_wire_does_no_harm() {
    use std::io::Write as _;
    let resolver = TestResolver::new();
    let socket = resolver.udp();
    // A small generator with a fixed seed: the packets are the same in each run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2000 {
        let length = (next() % 300) as usize;
        let packet: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        socket.send(&packet).unwrap();
        if round % 50 == 0 {
            let mut stream = resolver.tcp();
            // The resolver may close the connection in the middle, which is correct.
            let _ = stream.write_all(&packet);
        }
    }
    resolver.assert_answers();
}

#[test]
fn idle_tcp_clients_are_sent_away() {
    use std::io::Read as _;
    let resolver = TestResolver::new();
    let idle: Vec<_> = (0..CONNECTIONS + 5).map(|_| resolver.tcp()).collect();
    let begun = Instant::now();
    let mut last = resolver.tcp();
    let message = query("calm-otter.vm.", RecordType::A).to_vec().unwrap();
    assert_eq!(addresses(&ask_tcp(&mut last, &message).unwrap()).len(), 1);
    assert!(begun.elapsed() < PATIENCE * 4, "{:?}", begun.elapsed());
    for mut stream in idle.into_iter().take(3) {
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "closed");
    }
}

#[test]
fn a_question_that_is_too_long_ends_the_connection() {
    use std::io::{Read as _, Write as _};
    let resolver = TestResolver::new();
    let mut stream = resolver.tcp();
    stream.write_all(&[0xff, 0xff]).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "closed");
}

#[test]
fn a_port_in_use_is_reported() {
    let first = bind(0).unwrap();
    let error = bind(first.address().unwrap().port()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}
