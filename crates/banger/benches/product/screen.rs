//! What `banger tui` costs while nobody touches it.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Row;
use crate::daemon::{Daemon, program};
use crate::pty;
use crate::simulated::create;

/// How long the screen gets used to its VMs before it is measured.
const SETTLES: Duration = Duration::from_secs(12);
/// How long it is measured.
const MEASURED: Duration = Duration::from_secs(60);

/// With 100 VMs that run, at two sizes of the terminal.
pub(crate) fn measure() -> Vec<Row> {
    let daemon = Daemon::start(&["--sim"]);
    for number in 0..100 {
        create(&daemon, &format!("vm-{number}"), true);
    }
    let of = |what, rows, columns| {
        let screen = Screen::start(&daemon, rows, columns);
        std::thread::sleep(SETTLES);
        let (began, before) = (Instant::now(), screen.used());
        let (asked, sent) = (daemon.processor_time(), screen.sent());
        std::thread::sleep(MEASURED);
        let seconds = began.elapsed().as_secs_f64();
        let share = |used: f64| used / seconds * 100.0;
        Row {
            what,
            aim: "1 % of a core".into(),
            found: format!(
                "{:.2} %, {:.0} MiB; the daemon {:.2} %; {} KiB drawn",
                share(screen.used() - before),
                screen.memory(),
                share(daemon.processor_time() - asked),
                (screen.sent() - sent) / 1024,
            ),
        }
    };
    vec![
        of("`banger tui`, 100 VMs that run, a minute at 80x24", 24, 80),
        of(
            "`banger tui`, 100 VMs that run, a minute at 200x50",
            50,
            200,
        ),
    ]
}

/// `banger tui` on a terminal of its own.
struct Screen {
    child: Child,
    sent: Arc<AtomicU64>,
}

impl Screen {
    fn start(daemon: &Daemon, rows: u16, columns: u16) -> Self {
        let (mut master, terminal) = pty::open(Some((rows, columns)));
        let child = Command::new(program("banger"))
            .arg("tui")
            .env("BANGER_STATE", daemon.state())
            .env("TERM", "xterm-256color")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let own = Arc::clone(&sent);
        std::thread::spawn(move || {
            let mut piece = [0; 65536];
            while let Ok(read @ 1..) = master.read(&mut piece) {
                own.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        Self { child, sent }
    }

    /// The bytes that it was sent.
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The processor time that it has used, in seconds.
    fn used(&self) -> f64 {
        crate::daemon::processor_time(self.child.id())
    }

    /// Its memory, in MiB.
    fn memory(&self) -> f64 {
        crate::daemon::memory(self.child.id())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
