//! A fake daemon that reports what a test wants, and has one VM, `web`. It is for requests that a
//! simulated daemon rejects, such as connections to a VM.

use banger_api::API_VERSION;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use serde_json::{Value, json};

use crate::environment::TestEnvironment;

/// The view of a real daemon for the state directory of this environment.
pub(crate) fn daemon(environment: &TestEnvironment) -> Value {
    json!({
        "version": "0.1.0",
        // No such process exists, so nobody waits for it.
        "pid": i32::MAX,
        "mode": "direct",
        "socket": environment.socket(),
        "state": environment.state(),
        "config": environment.path("home/.config/banger/config.toml"),
        "bundle": environment.path("home/.local/share/banger/bundle"),
        "dns": null,
        "started": "2026-11-23T12:00:00Z",
        "vms": 1,
        "running": 1,
        "unexplained": [],
    })
}

/// The running VM `web`, at an unused address.
pub(crate) fn web(environment: &TestEnvironment) -> Value {
    let state = environment.state();
    json!({
        "id": "00ab12cd",
        "name": "web",
        "phase": "running",
        "image": "default",
        "spec": {
            "vcpu": 2,
            "memory_mib": 2048,
            "disk_size_mib": 16384,
            "system_disk_size_mib": 16384,
            "nat": true,
        },
        "network": "tap",
        "address": "192.0.2.2",
        "dns_name": "web.vm",
        "ssh": {
            "host": "192.0.2.2",
            "port": 22,
            "user": "root",
            "key": state.join("ssh/id_ed25519"),
            "known_hosts": state.join("ssh/known_hosts.d/00ab12cd"),
            "host_key_alias": "banger-00ab12cd",
        },
        "hypervisor": "qemu",
        "root_disk": "copy",
        "pid": 4711,
        "created": "2026-11-23T12:00:00Z",
        "started": "2026-11-23T12:00:10Z",
        "last_end": null,
        "notes": [],
    })
}

/// Answers on the socket of this environment until the test ends.
pub(crate) fn listen(environment: &TestEnvironment, daemon: Value, web: Value) {
    let socket = environment.socket();
    let mut folder = std::fs::DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder.create(socket.parent().unwrap()).unwrap();
    listen_on(&socket, API_VERSION, daemon, web);
}

/// Answers on this socket, with this version of the API.
pub(crate) fn listen_on(socket: &Path, version: u32, daemon: Value, web: Value) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // The client first connects without a request, and it may disconnect.
            let _ = serve(stream.unwrap(), version, &daemon, &web);
        }
    });
}

fn serve(mut stream: UnixStream, version: u32, daemon: &Value, web: &Value) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let read = stream.read(&mut head)?;
    let head = String::from_utf8_lossy(&head[..read]);
    let mut words = head.split(' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/v1/daemon")) => ("200 OK", daemon.to_string()),
        (Some("POST"), Some("/v1/daemon/stop")) => {
            ("200 OK", json!({ "result": daemon }).to_string())
        }
        (Some("GET"), Some("/v1/vms")) => ("200 OK", json!([web]).to_string()),
        (Some("GET"), Some("/v1/vms/web")) => ("200 OK", web.to_string()),
        (Some(_), Some(path)) => {
            let error = json!({ "code": "not-found", "message": format!("no `{path}` here") });
            ("404 Not Found", error.to_string())
        }
        _ => return Ok(()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nbanger-api: {version}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}\n",
        body.len() + 1
    )
}
