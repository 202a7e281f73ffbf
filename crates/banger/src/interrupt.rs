//! ^C while waiting or following: the terminal is restored, and the exit status is 130, as shells
//! report for SIGINT.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, mpsc};

use tokio::signal::unix::{SignalKind, signal};

/// The exit status for SIGINT (2).
const INTERRUPTED: i32 = 128 + 2;

/// Whether ^C belongs to a command in a guest now.
static IS_FOR_A_COMMAND: AtomicBool = AtomicBool::new(false);

/// Stops handling ^C: whoever runs a command in a guest passes it on.
pub(crate) fn leave_to_a_command() {
    IS_FOR_A_COMMAND.store(true, Ordering::SeqCst);
}

/// On ^C, prints that the daemon continues: a user may expect ^C to undo the request.
pub(crate) fn note_that_the_daemon_continues() {
    note(
        "the daemon continues; see: banger vm list   (to undo a create: banger vm delete --force NAME)",
    );
}

/// On ^C, prints that the daemon gives up what this program has asked for, as it does with the copy
/// of a disk.
pub(crate) fn note_that_the_daemon_gives_up() {
    note("cancelled; the daemon removes what is half-made");
}

/// On ^C, prints a note.
fn note(text: &'static str) {
    // One watch for the whole program, however many VMs it works on.
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        on_interrupt(move || {
            let mut stderr = io::stderr();
            if stderr.is_terminal() {
                let _ = stderr.write_all(b"\r\x1b[K");
            }
            let _ = stderr.write_all(format!("note: {text}\n").as_bytes());
        });
    });
}

/// On ^C, resets the terminal's colours, which a guest may have changed.
pub(crate) fn restore_the_colours() {
    on_interrupt(|| {
        // Not through the locked `Stdout`: the thread that prints may hold it just now.
        let _ = rustix::io::write(rustix::stdio::stdout(), b"\x1b[0m\n");
    });
}

/// Runs `last` on ^C, before this process ends.
pub(crate) fn then(last: impl FnOnce() + Send + 'static) {
    on_interrupt(last);
}

/// Runs `last` on SIGINT, and exits. If the signal cannot be watched, ^C ends the program at once.
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
            interrupts.recv().await?;
            while IS_FOR_A_COMMAND.load(Ordering::SeqCst) {
                interrupts.recv().await?;
            }
            Some(())
        })?;
        last();
        end()
    };
    let watch = std::thread::Builder::new()
        .name("interrupt".into())
        .spawn::<_, Option<()>>(watch);
    if watch.is_ok() {
        // After this, ^C is handled; an error means that the signal cannot be watched.
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
