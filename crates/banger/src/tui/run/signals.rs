//! Signals: to end, to stop and to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::inbox::{Letter, Sender};
use crate::tui::model::message::Message;

/// Passes signals to the loop. While `away` is set another program has the terminal, and what the
/// terminal sends is meant for that one.
pub(super) fn watch(sender: &Sender, away: Arc<AtomicBool>) {
    sender.spawn("signals", move |sender| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        // Without it, signals do what they do by default.
        if let Ok(runtime) = runtime {
            let _ = runtime.block_on(pass(sender, &away));
        }
    });
}

async fn pass(sender: &Sender, away: &AtomicBool) -> std::io::Result<()> {
    let of = |kind| signal(kind);
    let mut end = of(SignalKind::terminate())?;
    let mut hangup = of(SignalKind::hangup())?;
    let mut interrupt = of(SignalKind::interrupt())?;
    let mut stop = of(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut go_on = of(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut resize = of(SignalKind::window_change())?;
    loop {
        let hears = tokio::select! {
            it = next(&mut end) => it && sender.send(Letter::End(128 + 15)),
            it = next(&mut hangup) => it && sender.send(Letter::End(128 + 1)),
            it = next(&mut interrupt) => it && (is(away) || sender.send(Letter::End(128 + 2))),
            it = next(&mut stop) => it && stopped(sender, away),
            it = next(&mut go_on) => it && (is(away) || sender.send(Letter::Resume)),
            it = next(&mut resize) => it && (is(away) || sender.send(Message::Tick)),
        };
        if !hears {
            return Ok(());
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
    let _ = kill_process(getpid(), Signal::STOP);
    true
}
