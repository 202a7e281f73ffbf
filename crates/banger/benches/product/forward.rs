//! A forwarded port of one guest, over banger's streams and over `ssh -L`, in turn.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Ways, bulk, round_trip};
use crate::Row;

/// How often each is measured.
const ROUNDS: usize = 7;

/// The connections whose time is one measurement.
const CONNECTIONS: u32 = 10;

/// A server in the guest: `b` asks for the bulk, anything else for a byte.
const SERVICE: &str = r#"
import socket, sys, threading
zeros = bytes(1 << 16)
def serve(client):
    with client:
        if client.recv(1) == b"b":
            for _ in range(int(sys.argv[1]) >> 16):
                client.sendall(zeros)
        else:
            client.sendall(b"x")
server = socket.create_server(("127.0.0.1", 9000), backlog=128)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"#;

/// A process that is ended with the measurement.
struct BenchProcess(Child);

impl Drop for BenchProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> BenchProcess {
    BenchProcess(command.stdin(Stdio::null()).spawn().unwrap())
}

/// What the guest's server sends, and the milliseconds from the connection to its end; `None` while
/// it does not answer.
fn ask(address: &str, wish: &[u8]) -> Option<(u64, f64)> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(wish).ok()?;
    let mut bytes = vec![0; 1 << 18];
    let mut count = 0;
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(more) => count += more as u64,
            Err(_) => return None,
        }
    }
    (count > 0).then(|| (count, began.elapsed().as_secs_f64() * 1000.0))
}

fn wait_for(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while ask(address, b"p").is_none() {
        assert!(Instant::now() < deadline, "{address} does not answer");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn connections(address: &str) -> f64 {
    let each = (0..CONNECTIONS).map(|_| ask(address, b"p").unwrap().1);
    each.sum::<f64>() / f64::from(CONNECTIONS)
}

/// Measures a port of the running VM `bench`.
pub(super) fn measure(ways: &Ways) -> Vec<Row> {
    let size = super::BULK.to_string();
    let service = [
        "vm", "exec", "bench", "-d", "--", "python3", "-c", SERVICE, &size,
    ];
    assert!(
        ways.banger(&service)
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let mut forward = ways.banger(&["vm", "forward", "bench", "0:9000"]);
    let mut ours = start(forward.stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(ours.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let here = line.split(' ').next().unwrap().to_owned();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = free.local_addr().unwrap().to_string();
    drop(free);
    let rule = format!("{there}:127.0.0.1:9000");
    let _theirs = start(&mut ways.ssh("ssh", &["-N", "-L", &rule, "bench.vm"]));
    wait_for(&here);
    wait_for(&there);
    let trips = (0..ROUNDS).map(|_| (connections(&here), connections(&there)));
    let trips = trips.unzip();
    let bulks = (0..ROUNDS).map(|_| {
        let both = [&here, &there].map(|address| ask(address, b"b").unwrap());
        assert!(both.iter().all(|it| it.0 == super::BULK), "{both:?}");
        (both[0].1, both[1].1)
    });
    let bulks = bulks.unzip();
    vec![
        round_trip(
            "a connection to a forwarded port, against ssh -L",
            "1×",
            &trips,
        ),
        bulk("64 MiB from a forwarded port, against ssh -L", &bulks),
    ]
}
