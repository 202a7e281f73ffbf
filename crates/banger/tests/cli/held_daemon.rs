//! A socket before the daemon's: it counts what is asked, can hold answers back for ever, and can tell
//! of more VMs than a test could make.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use banger_api::API_VERSION;
use serde_json::{Value, json};

use crate::environment::TestEnvironment;

/// What the socket does.
#[derive(Default)]
struct State {
    /// The paths that were asked for.
    asked: Vec<String>,
    /// Whether only the events and the daemon itself answer.
    held: bool,
    /// What is asked in vain: each connection stays open.
    waiting: Vec<UnixStream>,
    /// VMs of a snapshot that is told in place of the daemon's events.
    vms: Option<Value>,
}

/// A socket before the daemon's.
pub(crate) struct HeldDaemon {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl HeldDaemon {
    /// Passes everything on.
    pub(crate) fn new(environment: &TestEnvironment) -> Self {
        let path = environment.path("run/held.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (own, daemon) = (Arc::clone(&state), environment.socket());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, daemon) = (Arc::clone(&own), daemon.clone());
                std::thread::spawn(move || {
                    // A client may go away.
                    let _ = pass(stream.unwrap(), &state, &daemon);
                });
            }
        });
        Self { path, state }
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// From now on nothing is answered but what the daemon is, and its events.
    pub(crate) fn hold(&self) {
        self.state.lock().unwrap().held = true;
    }

    /// Tells of so many VMs, which are this one by other names.
    pub(crate) fn tell_of(&self, count: u32, vm: &Value) {
        let vms = (1..=count).map(|number| {
            let mut vm = vm.clone();
            vm["id"] = json!(format!("{number:08x}"));
            vm["name"] = json!(format!("vm-{number:04}"));
            vm
        });
        self.state.lock().unwrap().vms = Some(vms.collect());
    }

    /// The paths that were asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

fn pass(mut client: UnixStream, state: &Mutex<State>, daemon: &PathBuf) -> std::io::Result<()> {
    let mut head = [0; 8192];
    let read = client.read(&mut head)?;
    let text = String::from_utf8_lossy(&head[..read]);
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let is_told = path.starts_with("/v1/events") || path == "/v1/daemon" || path == "/v1/version";
    {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        if state.held && !is_told {
            state.waiting.push(client);
            return Ok(());
        }
        if let Some(vms) = state.vms.clone().filter(|_| path.starts_with("/v1/events")) {
            let snapshot = json!({ "vms": vms, "operations": [], "missed": null });
            let event = json!({ "seq": 1, "at": "2026-11-27T12:00:00Z", "snapshot": snapshot });
            write!(
                client,
                "HTTP/1.1 200 OK\r\nbanger-api: {API_VERSION}\r\ncontent-type: application/x-ndjson\r\n\r\n{event}\n"
            )?;
            state.waiting.push(client);
            return Ok(());
        }
    }
    let mut daemon = UnixStream::connect(daemon)?;
    daemon.write_all(&head[..read])?;
    let (mut from, mut to) = (client.try_clone()?, daemon.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    std::io::copy(&mut daemon, &mut client)?;
    client.shutdown(Shutdown::Both)
}
