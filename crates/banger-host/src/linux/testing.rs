//! What the tests of the real host share: namespaces, and programs that inspect them.

use std::io::Write as _;
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::thread::UnshareFlags;

use super::sys;

/// Prints why a test was skipped; `tools/test` counts these lines.
pub(crate) fn skipped(reason: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    // The test harness would capture `eprintln` in a test that passes.
    writeln!(std::io::stderr(), "SKIPPED: {name}: {reason}").unwrap();
}

/// Whether the test may change the host; prints a skip line if not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root");
    }
    root
}

/// Runs a test on a new thread, after `prepare` has run there.
fn on_own_thread(prepare: impl FnOnce() + Send, test: impl FnOnce() + Send) {
    if !is_root() {
        return;
    }
    thread::scope(|scope| {
        let name = thread::current().name().unwrap_or("test").to_owned();
        let running = thread::Builder::new()
            .name(name)
            .spawn_scoped(scope, || {
                prepare();
                test();
            })
            .unwrap();
        if let Err(panic) = running.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn own_network() {
    sys::unshare(UnshareFlags::NEWNET).unwrap();
    run("ip", "link set lo up");
}

/// Runs a test in a new network namespace, which has only `lo`. Programs that it starts are in the
/// namespace, too, and all of it ends with the test.
pub(crate) fn in_own_network(test: impl FnOnce() + Send) {
    on_own_thread(own_network, test);
}

/// Runs a test in a new mount namespace; its mounts end with the test.
pub(crate) fn in_own_mounts(test: impl FnOnce() + Send) {
    let prepare = || {
        sys::unshare(UnshareFlags::NEWNS).unwrap();
        run("mount", "--make-rprivate /");
    };
    on_own_thread(prepare, test);
}

/// A folder that only root can write, like every folder above it.
pub(crate) fn folder_of_root() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("banger-test-")
        .tempdir_in("/run")
        .unwrap()
}

/// Runs a test as an ordinary user, without root's privileges.
pub(crate) fn as_nobody(test: impl FnOnce() + Send) {
    let nobody = rustix::process::Uid::from_raw(65534);
    let group = rustix::process::Gid::from_raw(65534);
    let prepare = || {
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
    };
    on_own_thread(prepare, test);
}

/// A network namespace; code that runs there sees that network only.
pub(crate) struct TestNamespace {
    work: Option<mpsc::Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<JoinHandle<()>>,
    /// The id of its thread, by which `ip link set … netns` finds it.
    pub(crate) id: i32,
}

impl TestNamespace {
    pub(crate) fn new() -> Self {
        let (work, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            own_network();
            sender
                .send(rustix::thread::gettid().as_raw_nonzero().get())
                .unwrap();
            todo.into_iter().for_each(|work| work());
        });
        let id = receiver.recv().unwrap();
        Self {
            work: Some(work),
            thread: Some(thread),
            id,
        }
    }

    /// Runs a closure there, and waits for its result.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        let work = Box::new(move || drop(sender.send(work())));
        self.work.as_ref().unwrap().send(work).unwrap();
        receiver.recv().expect("what was run there panicked")
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        drop(self.work.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Runs a program; `arguments` are separated by spaces.
pub(crate) fn attempt(program: &str, arguments: &str) -> Result<String, String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "not what is tested, but what it is tested with"
    )]
    let mut command = Command::new(program);
    let output = command.args(arguments.split_ascii_whitespace()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    attempt(program, arguments).unwrap_or_else(|error| panic!("`{program} {arguments}`: {error}"))
}
