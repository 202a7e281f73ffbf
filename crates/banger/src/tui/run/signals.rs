//! Signals: to end, to stop and to go on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::{getpgid, getpgrp, getppid, getsid};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::inbox::{Letter, Sender};
use crate::tui::model::message::Message;

/// The signals that are passed on.
struct Signals {
    end: Stream,
    hangup: Stream,
    interrupt: Stream,
    stop: Stream,
    go_on: Stream,
    resize: Stream,
}

impl Signals {
    /// From now on they do not do what they do by default.
    fn new() -> io::Result<Self> {
        Ok(Self {
            end: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            stop: signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?,
            go_on: signal(SignalKind::from_raw(Signal::CONT.as_raw()))?,
            resize: signal(SignalKind::window_change())?,
        })
    }
}

/// Passes signals to the loop. While `away` is set another program has the terminal, and what the
/// terminal sends is meant for that one. They are caught when this returns, so that the terminal can be taken.
///
/// # Errors
/// There are no descriptors left.
pub(super) fn watch(sender: &Sender, away: Arc<AtomicBool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals::new()?
    };
    sender.spawn("signals", move |sender| {
        runtime.block_on(pass(signals, sender, &away));
    });
    Ok(())
}

async fn pass(mut signals: Signals, sender: &Sender, away: &AtomicBool) {
    loop {
        let hears = tokio::select! {
            it = next(&mut signals.end) => it && sender.send(Letter::End(128 + 15)),
            it = next(&mut signals.hangup) => it && sender.send(Letter::End(128 + 1)),
            it = next(&mut signals.interrupt) => {
                it && (is(away) || sender.send(Letter::End(128 + 2)))
            }
            it = next(&mut signals.stop) => it && stopped(sender, away),
            it = next(&mut signals.go_on) => it && (is(away) || sender.send(Letter::Resume)),
            it = next(&mut signals.resize) => it && (is(away) || sender.send(Message::Tick)),
        };
        if !hears {
            return;
        }
    }
}

async fn next(signals: &mut Stream) -> bool {
    signals.recv().await.is_some()
}

fn is(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst)
}

/// The loop gives the terminal back first; where another program has it, that one has done so.
fn stopped(sender: &Sender, away: &AtomicBool) -> bool {
    if !is(away) {
        return sender.send(Letter::Suspend);
    }
    if is_resumable() {
        let _ = kill_process(getpid(), Signal::STOP);
    }
    true
}

/// Whether there is a shell with jobs that can resume this process. Without one, such as in `ssh -t host banger`
/// or in a window of its own, a process that is stopped stays so: its parent is of another session, or
/// the session's first process waits in the same group.
///
/// In a PID namespace, such as that of a container, ID 0 stands for a process outside the namespace
/// (pid_namespaces(7)). `rustix` cannot represent that ID.
pub(super) fn is_resumable() -> bool {
    let parent = getppid();
    let Ok(session) = getsid(None) else {
        return false;
    };
    if parent.as_raw() == 0 || getsid(Some(parent)) != Ok(session) {
        return false;
    }
    // A shell with jobs gives each of them a group. The parent stands for a leader outside the namespace.
    let leader = if session.as_raw() == 0 {
        parent
    } else {
        session
    };
    getpgid(Some(leader)).is_ok_and(|it| it != getpgrp())
}
