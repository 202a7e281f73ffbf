//! The streams of a simulated guest. Its one program prints its arguments and its standard input, and
//! ends with the status that an argument `exit=N` names.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use banger_api::{Code, Error};
use banger_guest::protocol::encode;
use banger_guest::streams::{ExecFrame, ExecReader, ListeningSocket, StreamKind, Usage};

use crate::error::Result;

/// A stream to a guest that answers from a thread of its own.
pub(super) fn open(kind: StreamKind) -> Result<UnixStream> {
    let failed = |cause: io::Error| {
        Error::new(Code::Internal, "open a simulated stream").cause(cause.to_string())
    };
    let (ours, mut theirs) = UnixStream::pair().map_err(failed)?;
    let answer = move || match kind {
        StreamKind::Exec => run(theirs),
        StreamKind::Ports => theirs.write_all(&encode(&[ssh()])),
        StreamKind::Usage => theirs.write_all(&encode(&usage())),
    };
    std::thread::Builder::new().spawn(answer).map_err(failed)?;
    Ok(ours)
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

fn usage() -> Usage {
    Usage {
        uptime_millis: 60_000,
        cpu_busy_millis: 1500,
        load_hundredths: 25,
        memory_bytes: 2 << 30,
        memory_available_bytes: 3 << 29,
        received_bytes: 1000,
        sent_bytes: 500,
    }
}

fn run(mut stream: UnixStream) -> io::Result<()> {
    let mut reader = ExecReader::default();
    let mut words = Vec::new();
    let mut status = 0;
    let mut bytes = [0; 4096];
    loop {
        let Some(frame) = reader.next_frame().map_err(io::Error::other)? else {
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                count => reader.push(&bytes[..count]),
            }
            continue;
        };
        let answers = match frame {
            ExecFrame::Word(word) => {
                let text = String::from_utf8_lossy(&word);
                if let Some(number) = text.strip_prefix("exit=") {
                    status = number.parse().unwrap_or(2);
                }
                words.extend([&*word, b"\n"].concat());
                Vec::new()
            }
            ExecFrame::Start(_) => {
                let words = std::mem::take(&mut words);
                vec![ExecFrame::Started, ExecFrame::Stdout(words)]
            }
            ExecFrame::Stdin(bytes) => {
                let room = u32::try_from(bytes.len()).unwrap_or(0);
                vec![ExecFrame::Stderr(bytes), ExecFrame::Room(room)]
            }
            ExecFrame::StdinEnd => vec![ExecFrame::Exit(status)],
            ExecFrame::Signal(number) => vec![ExecFrame::Exit(128 + (number & 127))],
            _ => Vec::new(),
        };
        for answer in answers {
            stream.write_all(&answer.encode())?;
            if matches!(answer, ExecFrame::Exit(_)) {
                return Ok(());
            }
        }
    }
}
