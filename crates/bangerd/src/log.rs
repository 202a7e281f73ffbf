//! The daemon's log: JSON, a line an event, in a file that is bounded. Its level can be changed while
//! the daemon runs.

mod bounded;

use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use banger_api::LogLevel;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use bounded::BoundedFile;

/// How the level of the process's one log is changed.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Begins the log of this process, at the usual level. A thread that panics is told there, too.
///
/// # Errors
/// When the file cannot be opened.
pub fn start(path: &Path) -> io::Result<()> {
    let file = BoundedFile::open(path.to_owned(), bounded::LONGEST)?;
    let (level, handle) = reload::Layer::new(filter(LogLevel::default()));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .with_writer(Mutex::new(file));
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .init();
    // The subscriber is set once a process, so this is, too.
    let _ = LEVEL.set(handle);
    std::panic::set_hook(Box::new(
        |panic| tracing::error!(%panic, "a thread panicked"),
    ));
    Ok(())
}

/// Changes the level of the log from now on. Without a log, as in tests, nothing happens.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // It fails only where the subscriber is gone, which lasts as long as the process.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}
