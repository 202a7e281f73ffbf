//! ^C while waiting or following: the terminal is left clean, and the exit status is 130, as a
//! shell reports for a program that SIGINT ended.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Once, mpsc};

use tokio::signal::unix::{SignalKind, signal};

/// What a shell shows for a program that SIGINT (2) ended.
const INTERRUPTED: i32 = 128 + 2;

/// Work in the daemon is not undone by a client that goes away, which is not what a user expects
/// of ^C; so it is told.
pub(crate) fn leave_the_daemon_to_it() {
    // One watch for the whole program, however many VMs it works on.
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        on_interrupt(|| {
            let mut stderr = io::stderr();
            if stderr.is_terminal() {
                let _ = stderr.write_all(b"\r\x1b[K");
            }
            let _ = stderr.write_all(b"note: the daemon continues; see: banger vm list   (to undo a create: banger vm delete --force NAME)\n");
        });
    });
}

/// A guest may have left a colour on.
pub(crate) fn restore_the_colours() {
    on_interrupt(|| {
        // Not through the locked `Stdout`: the thread that prints may hold it just now.
        let _ = rustix::io::write(rustix::stdio::stdout(), b"\x1b[0m\n");
    });
}

/// Runs `last` at SIGINT, and ends the program. Where no watch can be had, ^C ends it at once.
fn on_interrupt(last: impl FnOnce() + Send + 'static) {
    let (watching, watched) = mpsc::channel();
    let watch = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .ok()?;
        runtime.block_on(async {
            let mut interrupts = signal(SignalKind::interrupt()).ok()?;
            watching.send(()).ok()?;
            interrupts.recv().await
        })?;
        last();
        end()
    };
    let watch = std::thread::Builder::new()
        .name("interrupt".into())
        .spawn::<_, Option<()>>(watch);
    if watch.is_ok() {
        // From here on ^C is heard; an error is a watch that could not be had.
        let _ = watched.recv();
    }
}

#[expect(
    clippy::exit,
    reason = "the main thread is waiting for the daemon and cannot be asked"
)]
fn end() -> ! {
    std::process::exit(INTERRUPTED)
}
