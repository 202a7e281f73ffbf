//! A program that behaves like Firecracker at its API, except for one step that its script changes.
//! Its machines are empty.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// The file in its working directory to which it writes each request, one on each line.
pub(crate) const ASKED: &str = "asked";

/// The guest's output on its console.
pub(crate) const CONSOLE: &str = "hello from the guest\n";

/// Its behaviour, in a file beside the program, whose name has the suffix `.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Script {
    /// The output of `--version`.
    pub(crate) version: String,
    /// The version in its API.
    pub(crate) api_version: String,
    /// The step that it changes: `--version`, `listen`, or a request such as `PUT /vsock`.
    pub(crate) at: String,
    /// Its behaviour at that step.
    pub(crate) does: Option<Behaviour>,
}

/// A behaviour that a healthy Firecracker does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Behaviour {
    /// It rejects the request, with a reason.
    Refuse,
    /// It never answers again.
    Stall,
    /// It exits with the status for a forbidden system call, and logs an error.
    Die,
    /// It sends an invalid answer.
    Babble,
}

/// Firecracker's own message for a rejection here.
pub(crate) const FAULT: &str = "The kernel file cannot be opened: no luck today.";

/// The error in its log before it exits.
pub(crate) const COMPLAINT: &str = "Shutting down VM after intercepting a bad syscall (41).";

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let script = std::fs::read(format!("{}.json", arguments[0])).unwrap();
    let script: Script = serde_json::from_slice(&script).unwrap();
    let value = |name: &str| {
        let at = arguments.iter().position(|it| it == name);
        at.and_then(|at| arguments.get(at + 1))
    };
    let stand_in = StandIn {
        script,
        log: value("--log-path").cloned().unwrap_or_default(),
    };
    match value("--api-sock") {
        None => {
            stand_in.perhaps("--version");
            say(&format!("Firecracker v{}\n\n", stand_in.script.version));
        }
        Some(socket) => {
            assert_eq!(value("--id").map(String::as_str), Some(crate::world::NAME));
            stand_in.serve(Path::new(socket));
        }
    }
    ExitCode::SUCCESS
}

struct StandIn {
    script: Script,
    log: String,
}

impl StandIn {
    /// Behaves as the script says for this step; the caller handles rejections and invalid answers.
    fn perhaps(&self, place: &str) -> Option<Behaviour> {
        let does = self.script.does.filter(|_| self.script.at == place);
        match does {
            Some(Behaviour::Stall) => loop {
                std::thread::park();
            },
            Some(Behaviour::Die) => {
                let line = format!("2026-11-24T11:39:10.1 [id:main:ERROR] {COMPLAINT}\n");
                std::fs::write(&self.log, line).unwrap();
                std::process::exit(148)
            }
            other => other,
        }
    }

    fn serve(&self, socket: &Path) {
        self.perhaps("listen");
        // If the socket exists already, it exits, like Firecracker.
        let listener = UnixListener::bind(socket).unwrap();
        for stream in listener.incoming() {
            // A client may connect without a request.
            while self.answer(stream.as_ref().unwrap()) {}
        }
    }

    /// Reads one request and answers it; returns whether there was one.
    fn answer(&self, mut stream: &UnixStream) -> bool {
        let Some((request, body)) = read(stream) else {
            return false;
        };
        let mut asked = File::options().append(true).create(true).open(ASKED);
        writeln!(asked.as_mut().unwrap(), "{request} {body}").unwrap();
        let answer = match self.perhaps(&request) {
            Some(Behaviour::Babble) => "you are welcome\r\n\r\n".to_owned(),
            Some(Behaviour::Refuse) => {
                let body = serde_json::json!({ "fault_message": FAULT }).to_string();
                with_body("400 ", &body)
            }
            Some(Behaviour::Stall | Behaviour::Die) | None if request == "GET /version" => {
                let version = &self.script.api_version;
                let body = serde_json::json!({ "firecracker_version": version }).to_string();
                with_body("200 ", &body)
            }
            Some(Behaviour::Stall | Behaviour::Die) | None => {
                if body.contains("InstanceStart") {
                    say(CONSOLE);
                }
                format!("HTTP/1.1 204 \r\n{HEADERS}\r\n")
            }
        };
        stream.write_all(answer.as_bytes()).is_ok()
    }
}

const HEADERS: &str = "Server: Firecracker API\r\nConnection: keep-alive\r\n";

fn with_body(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{HEADERS}Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The method and path of a request, and its body.
fn read(stream: &UnixStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let (request, _) = line.rsplit_once(' ')?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader
            .read_line(&mut header)
            .ok()
            .filter(|read| *read > 0)?;
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((request.to_owned(), String::from_utf8(body).ok()?))
}
