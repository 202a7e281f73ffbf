//! A server with the real engine on a simulated host.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use crate::assemble::tests::simulated_location;
use banger_api::client::Client;
use banger_api::{CreateVm, Progress, VmRef, VmView};
use banger_host::{FileOp, Op, Sim};
use tempfile::TempDir;

use super::*;
use crate::assemble::{Mode, assemble};
use crate::config::Config;

/// A time longer than any step here takes, on any machine.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// A server, until dropped.
pub(super) struct TestServer {
    pub(super) sim: Sim,
    pub(super) engine: Arc<Engine>,
    pub(super) shutdown: Shutdown,
    pub(super) path: PathBuf,
    served: Option<tokio::task::JoinHandle<io::Result<()>>>,
    pub(super) runtime: Option<Runtime>,
    _folder: TempDir,
}

fn engine_with(sim: &Sim, config: &Config) -> Arc<Engine> {
    let location = simulated_location();
    let engine = assemble(&location, config, &Mode::Sim(sim.clone())).unwrap();
    engine.recover().unwrap();
    Arc::new(engine)
}

impl TestServer {
    pub(super) fn new() -> Self {
        Self::on(Sim::new())
    }

    /// A server with a trash.
    pub(super) fn with_trash() -> Self {
        let config = Config {
            trash: true,
            ..Config::default()
        };
        Self::configured(Sim::new(), &config)
    }

    /// The next daemon's server on this host.
    pub(super) fn on(sim: Sim) -> Self {
        Self::configured(sim, &Config::default())
    }

    fn configured(sim: Sim, config: &Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bangerd.sock");
        let socket = listen(&path).unwrap();
        let engine = engine_with(&sim, config);
        let shutdown = Shutdown::new();
        let runtime = runtime().unwrap();
        let served = runtime.spawn(serve(socket, engine.clone(), shutdown.clone()));
        Self {
            sim,
            engine,
            shutdown,
            path,
            served: Some(served),
            runtime: Some(runtime),
            _folder: folder,
        }
    }

    /// A server with the running VM `calm-otter`.
    pub(super) fn with_vm() -> Self {
        let server = Self::new();
        server.create("calm-otter");
        server
    }

    /// Creates and starts a VM, bypassing the server.
    pub(super) fn create(&self, name: &str) -> VmView {
        let request = CreateVm {
            no_start: false,
            ..named(name)
        };
        self.engine.create(&request, &nothing).unwrap()
    }

    /// Prints text on a guest's console.
    pub(super) fn print(&self, vm: &VmView, text: &str) {
        let console = format!("/state/vms/{}/machine/console.log", vm.id);
        self.sim.append(console.as_ref(), text);
    }

    pub(super) fn client(&self) -> Client {
        Client::new(&self.path).unwrap()
    }

    pub(super) fn connect(&self) -> StdUnixStream {
        let stream = StdUnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Sends a request, and leaves the response unread.
    pub(super) fn ask(&self, line: &str, head: &str, body: &str) -> StdUnixStream {
        let mut stream = self.connect();
        let length = body.len();
        write!(
            stream,
            "{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{head}\r\n{body}"
        )
        .unwrap();
        stream
    }

    /// Sends these bytes and returns the whole response.
    pub(super) fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    pub(super) fn assert_serves(&self) {
        assert_eq!(self.client().version().unwrap().api, API_VERSION);
    }

    /// Waits for the server's end, and returns how long that took.
    pub(super) fn ended(&mut self) -> Duration {
        let begun = Instant::now();
        let (runtime, served) = (self.runtime.as_ref().unwrap(), self.served.take().unwrap());
        runtime
            .block_on(async { timeout(LONG, served).await })
            .unwrap()
            .unwrap()
            .unwrap();
        begun.elapsed()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.begin();
        self.engine.shut_down();
        if self.served.is_some() && !std::thread::panicking() {
            self.ended();
        }
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// A gate that delays every new file system, and so each create, until it is opened.
pub(super) struct Gate(Arc<(Mutex<bool>, Condvar, AtomicUsize)>);

impl Gate {
    pub(super) fn new(sim: &Sim) -> Self {
        let gate = Arc::new((Mutex::new(false), Condvar::new(), AtomicUsize::new(0)));
        let inner = Arc::clone(&gate);
        sim.refuse(move |op| {
            if is_made(op) {
                let (is_open, opened, waiting) = &*inner;
                waiting.fetch_add(1, Ordering::SeqCst);
                let closed = is_open.lock().unwrap();
                drop(opened.wait_while(closed, |is_open| !*is_open).unwrap());
            }
            false
        });
        Self(gate)
    }

    /// The number of changes that have reached it.
    pub(super) fn arrived(&self) -> usize {
        self.0.2.load(Ordering::SeqCst)
    }

    pub(super) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// Whether this op makes a work disk, which is in the middle of a create.
pub(super) fn is_made(op: &Op) -> bool {
    matches!(op, Op::File(FileOp::MakeFilesystem { .. }))
}

/// Waits for a condition, and fails after a time-out.
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Raises the limit of descriptors, because a test has both ends of each connection.
pub(super) fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map(|most| most.min(16_384)).or(Some(16_384));
    setrlimit(Resource::Nofile, limit).unwrap();
}

pub(super) fn nothing(_: Progress) {}

/// A request for a VM with this name that is not started.
pub(super) fn named(name: &str) -> CreateVm {
    CreateVm {
        name: Some(name.to_owned()),
        no_start: true,
        ..CreateVm::default()
    }
}

pub(super) fn vm(name: &str) -> VmRef {
    name.parse().unwrap()
}
