//! The resolver against dnsmasq, in turns, with one query after the other.
//!
//! A simulated daemon answers no names, and a real one has no VM here, so the query is for an
//! unknown name, in a zone of the server's own.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::{Row, median};

/// The ports of the bench's daemon and of dnsmasq.
const OURS: u16 = 42269;
const THEIRS: u16 = 42270;

/// The number of queries of a measurement, and of measurements of each server.
const QUESTIONS: u32 = 5000;
const ROUNDS: usize = 15;

/// A query for the address of `nobody.vm` (RFC 1035, 4.1).
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06nobody\x02vm\x00\x00\x01\x00\x01";

/// RFC 1035, 4.1.1.
const NO_SUCH_NAME: u8 = 3;

struct Dnsmasq(Child);

impl Dnsmasq {
    fn start() -> Option<Self> {
        let child = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
            ])
            .args([
                "--no-hosts",
                "--bind-interfaces",
                "--listen-address=127.0.0.1",
            ])
            .args([
                "--pid-file",
                "--local=/vm/",
                "--host-record=vm-1.vm,10.213.0.3",
            ])
            .arg(format!("--port={THEIRS}"))
            .stdin(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self(child))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn client(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    socket
}

/// Waits until the server answers.
fn answered(socket: &UdpSocket) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut reply = [0; 512];
    loop {
        let _ = socket.send(QUESTION);
        // The low bits of the header's second word are the code NXDOMAIN.
        if socket.recv(&mut reply).is_ok() && reply[3] & 0xf == NO_SUCH_NAME {
            return;
        }
        assert!(Instant::now() < deadline, "no answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The duration of one query and its answer, in microseconds.
fn round(socket: &UdpSocket) -> f64 {
    let mut reply = [0; 512];
    let began = Instant::now();
    for _ in 0..QUESTIONS {
        socket.send(QUESTION).unwrap();
        socket.recv(&mut reply).unwrap();
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(QUESTIONS)
}

pub(crate) fn measure() -> Vec<Row> {
    let _daemon = Daemon::start(&[]);
    let Some(_dnsmasq) = Dnsmasq::start() else {
        return Vec::new();
    };
    let (ours, theirs) = (client(OURS), client(THEIRS));
    answered(&ours);
    answered(&theirs);
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(round(&ours));
        other.push(round(&theirs));
    }
    let (own, other) = (median(own), median(other));
    let row = |what, aim: &str, found| Row {
        what,
        aim: aim.to_owned(),
        found,
    };
    vec![
        row(
            "a name below `.vm`, question to answer",
            "–",
            format!("{own:.1} µs (dnsmasq {other:.1} µs)"),
        ),
        row(
            "names answered in the same time, against dnsmasq",
            "1×",
            format!("{:.2}×", other / own),
        ),
    ]
}
