//! The streams of a simulated guest. Its one program prints its arguments and its standard input,
//! and exits with the status that an argument `exit=N` names.

use std::fs::DirBuilder;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use banger_api::{Code, Error};
use banger_copy::Connection;
use banger_guest::protocol::encode;
use banger_guest::streams::{
    Accept, ConnectReply, ExecEnd, ExecFrame, ExecReader, ExecStart, ListenLine, ListeningSocket,
    StreamKind, Target, Usage,
};

use super::jobs::Jobs;
use crate::error::Result;

/// How often a guest that waits looks whether its machine still runs.
const LOOK: Duration = Duration::from_millis(50);

/// How long the daemon's line may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A simulated machine, as its guest knows it.
pub(super) struct SimMachine {
    pub(super) pid: u32,
    /// Its files lie below it, and are real.
    pub(super) root: PathBuf,
    pub(super) runs: Box<dyn Fn() -> bool + Send>,
}

/// A stream to the guest of this machine, which answers from a thread of its own.
pub(super) fn open(kind: StreamKind, machine: SimMachine, jobs: &Jobs) -> Result<UnixStream> {
    let failed = |cause: io::Error| {
        Error::new(Code::Internal, "open a simulated stream").cause(cause.to_string())
    };
    let (ours, mut theirs) = UnixStream::pair().map_err(failed)?;
    let jobs = jobs.clone();
    let answer = move || match kind {
        StreamKind::Exec => run(theirs),
        StreamKind::Copy => copy(theirs, &machine.root),
        StreamKind::Detach => jobs.detach(machine.pid, theirs),
        StreamKind::Jobs => jobs.list(machine.pid, theirs),
        StreamKind::Job => jobs.ask(machine.pid, theirs),
        StreamKind::Attach => jobs.attach(machine.pid, theirs),
        StreamKind::Ports => theirs.write_all(&encode(&[ssh()])),
        StreamKind::Usage => theirs.write_all(&encode(&usage(&machine, seconds()))),
        StreamKind::Connect => connect(theirs),
        StreamKind::Listen => listen(theirs, &machine),
        StreamKind::Accept => accept(theirs),
    };
    std::thread::Builder::new().spawn(answer).map_err(failed)?;
    Ok(ours)
}

/// Port 1 is in use. On any other place somebody connects once.
fn listen(mut stream: UnixStream, machine: &SimMachine) -> io::Result<()> {
    let port = match serde_json::from_slice(&read_line(&stream)?)? {
        Target::Tcp { port: 1, .. } => {
            let reason = "port 1 of the guest is in use".to_owned();
            return stream.write_all(&encode(&ListenLine::Refused(reason)));
        }
        Target::Tcp { port: 0, .. } => 40_000,
        Target::Tcp { port, .. } => port,
        Target::Unix(_) => 0,
    };
    stream.write_all(&encode(&ListenLine::Listening(port)))?;
    stream.write_all(&encode(&ListenLine::Connection(7)))?;
    stream.set_read_timeout(Some(LOOK))?;
    while (machine.runs)() {
        match stream.read(&mut [0]) {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            // The daemon closes it.
            ended => return ended.map(drop),
        }
    }
    Ok(())
}

/// That somebody says hello, and listens to the end.
fn accept(mut stream: UnixStream) -> io::Result<()> {
    let accept: Accept = serde_json::from_slice(&read_line(&stream)?)?;
    if accept.accept != 7 {
        let reason = "the connection is gone".to_owned();
        return stream.write_all(&encode(&ConnectReply::Refused(reason)));
    }
    stream.write_all(&encode(&ConnectReply::Connected))?;
    stream.write_all(b"hello from the guest")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// Ports below 1000 have a service that sends back what it gets; nothing listens on others.
fn connect(mut stream: UnixStream) -> io::Result<()> {
    let refusal = match serde_json::from_slice(&read_line(&stream)?)? {
        Target::Tcp { port: 0..1000, .. } => None,
        Target::Tcp { port, .. } => Some(format!("nothing listens on port {port}")),
        Target::Unix(path) if path.starts_with("/run/") => None,
        Target::Unix(path) => Some(format!("there is no socket `{path}`")),
    };
    if let Some(reason) = refusal {
        return stream.write_all(&encode(&ConnectReply::Refused(reason)));
    }
    stream.write_all(&encode(&ConnectReply::Connected))?;
    io::copy(&mut stream.try_clone()?, &mut stream)?;
    stream.shutdown(std::net::Shutdown::Write)
}

/// Copies as a real guest does, from and to files below `root`.
fn copy(stream: UnixStream, root: &Path) -> io::Result<()> {
    let home = root.join("root");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&home)?;
    banger_copy::serve(Connection::new(stream, Vec::new()), root, |_| Ok(home));
    Ok(())
}

fn ssh() -> ListeningSocket {
    ListeningSocket {
        protocol: "tcp".to_owned(),
        address: [0, 0, 0, 0].into(),
        port: 22,
        pid: Some(100),
        process: Some("sshd".to_owned()),
    }
}

/// What a simulated guest has used after so many seconds: more in one minute than in another, and
/// no two machines alike.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a simulation"
)]
fn usage(machine: &SimMachine, seconds: f64) -> Usage {
    // The integral of a wave that is never below 0.
    let wave =
        |period: f64| seconds + period * (1.0 - ((seconds + shift(machine.pid)) / period).cos());
    Usage {
        uptime_millis: 60_000 + (seconds * 1000.0) as u64,
        cpu_busy_millis: 1500 + (wave(7.0) * 300.0) as u64,
        load_hundredths: 25,
        memory_bytes: 2 << 30,
        memory_available_bytes: 3 << 29,
        received_bytes: 1000 + (wave(5.0) * 20_000.0) as u64,
        sent_bytes: 500 + (wave(11.0) * 4_000.0) as u64,
        read_bytes: Some(100_000 + (wave(13.0) * 30_000.0) as u64),
        written_bytes: Some(50_000 + (wave(17.0) * 60_000.0) as u64),
        oom_kills: oom_kills(&machine.root),
    }
}

/// The number in the machine's file `/root/oom-kills`; 0 without one.
fn oom_kills(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("root/oom-kills"));
    text.map_or(Some(0), |text| text.trim().parse().ok())
}

/// Where in its waves a machine begins.
fn shift(machine: u32) -> f64 {
    f64::from(machine % 97)
}

/// The time that the simulation has been going on.
fn seconds() -> f64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// The program that a client wants to run.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// The arguments.
    pub(super) words: Vec<String>,
    /// The start frame, as JSON and parsed.
    pub(super) json: Vec<u8>,
    pub(super) start: ExecStart,
    /// Its output.
    pub(super) output: Vec<u8>,
    /// Its exit status.
    pub(super) status: u8,
    /// Whether it is killed by the out-of-memory killer: an argument `oom=true` or `oom=false`.
    pub(super) oom_killed: Option<bool>,
}

/// Reads the frames up to the start; `None` if the client disconnects before.
pub(super) fn read_program(
    stream: &mut UnixStream,
    reader: &mut ExecReader,
) -> io::Result<Option<Program>> {
    let mut program = Program::default();
    while let Some(frame) = next(stream, reader)? {
        match frame {
            ExecFrame::Word(word) => {
                let text = String::from_utf8_lossy(&word).into_owned();
                if let Some(number) = text.strip_prefix("exit=") {
                    program.status = number.parse().unwrap_or(2);
                }
                if let Some(killed) = text.strip_prefix("oom=") {
                    program.oom_killed = killed.parse().ok();
                }
                program.words.push(text);
                program.output.extend([&*word, b"\n"].concat());
            }
            ExecFrame::Start(json) => {
                program.start = serde_json::from_slice(&json)?;
                program.json = json;
                return Ok(Some(program));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Reads one of the daemon's lines.
pub(super) fn read_line(stream: &UnixStream) -> io::Result<Vec<u8>> {
    banger_guest::streams::read_line(stream, Instant::now() + PATIENCE)
}

fn next(stream: &mut UnixStream, reader: &mut ExecReader) -> io::Result<Option<ExecFrame>> {
    let mut bytes = [0; 4096];
    loop {
        if let Some(frame) = reader.next_frame().map_err(io::Error::other)? {
            return Ok(Some(frame));
        }
        match stream.read(&mut bytes)? {
            0 => return Ok(None),
            count => reader.push(&bytes[..count]),
        }
    }
}

fn run(mut stream: UnixStream) -> io::Result<()> {
    let mut reader = ExecReader::default();
    let Some(program) = read_program(&mut stream, &mut reader)? else {
        return Ok(());
    };
    let first = [ExecFrame::Started, ExecFrame::Stdout(program.output)];
    for answer in first {
        stream.write_all(&answer.encode())?;
    }
    while let Some(frame) = next(&mut stream, &mut reader)? {
        let answers = match frame {
            ExecFrame::Stdin(bytes) => {
                let room = u32::try_from(bytes.len()).unwrap_or(0);
                vec![ExecFrame::Stderr(bytes), ExecFrame::Room(room)]
            }
            ExecFrame::StdinEnd => vec![ExecFrame::Exit(program.status)],
            ExecFrame::Signal(number) => vec![ExecFrame::Exit(128 + (number & 127))],
            _ => Vec::new(),
        };
        if program.start.tells_end && matches!(answers[..], [ExecFrame::Exit(_)]) {
            let end = ExecEnd {
                oom_killed: program.oom_killed,
            };
            stream.write_all(&ExecFrame::End(serde_json::to_vec(&end)?).encode())?;
        }
        for answer in answers {
            stream.write_all(&answer.encode())?;
            if matches!(answer, ExecFrame::Exit(_)) {
                return Ok(());
            }
        }
    }
    Ok(())
}
