//! The daemon's life: one lock, one engine, one watch, a server and a resolver around them.
//!
//! ```text
//! find the paths ► lock the state directory ► refuse newer records ► configuration ► assemble ► recover
//!   ► listen ► say `ready` ► serve until stopped; VMs keep running
//! ```

mod bundle;
pub mod configuration;
mod image;
mod kind;
mod lock;
mod names;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banger_api::configuration::{KEYS, Overrides, variable};
use banger_api::location::{Location, LocationOptions, Runtime, usual_home};
use banger_api::{Code, Error};
use banger_host::{Linux, Sim};
use sd_notify::NotifyState;

use crate::assemble::{Mode, assemble};
use crate::config::Config;
use crate::engine::Engine;
use crate::error::{During, Result};
use crate::image::bundle::{find, was_interrupted};
use crate::layout::Layout;
use crate::log;
use crate::server::{self, Shutdown};
use crate::vm::store::Store;
use lock::{StateLock, end_without_state};
use names::start_resolver;

pub use bundle::{Build, build, fetch, package};
pub use image::{ImageBuild, build_image, import};

/// The options of the daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// The paths that the user has set.
    pub wishes: LocationOptions,
    /// Whether the host is simulated.
    pub simulated: bool,
    /// Whether errors are printed as JSON.
    pub json: bool,
    /// The reasons why it is not fully detached from its starter.
    pub kept: Vec<String>,
}

/// Runs the daemon until it is stopped.
///
/// # Errors
/// If it cannot start.
pub fn run(options: &Options) -> Result<()> {
    let mut location = Location::find(&options.wishes, environment)?;
    let layout = Layout::new(&location.state);
    make_private(layout.state())?;
    // Names on the host derive from the path, so the path must be canonical.
    location.state = banger_host::real_path(&location.state).map_err(|cause| {
        let doing = format!("find the real path of `{}`", location.state.display());
        Error::new(Code::Host, doing).cause(cause.to_string())
    })?;
    let layout = Layout::new(&location.state);
    let Some(lock) = StateLock::take(&layout)? else {
        say("held");
        return Ok(());
    };
    let host = Linux::new().during("examine the host")?;
    Store::new(layout.clone()).refuse_newer(&host)?;
    kind::settle(&layout, options.simulated)?;
    start_log(&layout)?;
    raise_descriptor_limit();
    for kept in &options.kept {
        tracing::warn!("{kept}, as it was where this daemon was started");
    }
    let config = Config::of_daemon(&location, &overrides(), options.simulated)?;
    log::set_level(config.log_level);
    for renamed in &config.renamed {
        tracing::warn!("{renamed}");
    }
    find_bundle(&mut location, options, &config);
    let mode = if options.simulated {
        Mode::Sim(Sim::new())
    } else {
        Mode::Real
    };
    let engine = Arc::new(assemble(&location, &config, &mode)?);
    engine.recover().during("recover")?;
    engine.hold_forwards();
    let runtime = server::runtime()
        .map_err(|cause| Error::new(Code::Host, "start the runtime").cause(cause.to_string()))?;
    let threads = start_threads(&engine)?;
    start_with_host(&engine)?;
    let lock = Arc::new(lock);
    let served = runtime.block_on(serve(&location, &config, &engine, &lock));
    engine.shut_down();
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    // Each thread checks for the end at least twice a second.
    for thread in threads {
        let _ = thread.join();
    }
    tracing::info!("stopped; VMs run on");
    served
}

/// Finds the bundle: an option or variable overrides the configuration, which overrides a bundle
/// beside this program, which overrides the user's own.
fn find_bundle(location: &mut Location, options: &Options, config: &Config) {
    if options.wishes.bundle.is_none() {
        let program = std::env::current_exe().ok();
        let configured = config.runtime_dir.as_deref();
        let found = find(configured, program.as_deref(), &location.bundle);
        (location.bundle, location.bundle_reason) = (found.folder, found.reason);
    }
}

/// The threads that watch over VMs. They are separate so that none waits for another.
fn start_threads(engine: &Arc<Engine>) -> Result<Vec<std::thread::JoinHandle<()>>> {
    let works: [(&str, fn(&Arc<Engine>)); 3] = [
        ("guard", Engine::guard),
        ("disks", Engine::watch_machines),
        ("watch", Engine::watch),
    ];
    let mut threads = Vec::new();
    for (name, work) in works {
        let engine = engine.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&engine))
            .map_err(|cause| {
                Error::new(Code::Host, format!("start the thread `{name}`"))
                    .cause(cause.to_string())
            })?;
        threads.push(thread);
    }
    Ok(threads)
}

/// Starts the VMs that start with the host, while the server runs. If the daemon ends during a
/// start, the next daemon takes that down and repeats it, so no one waits for this thread.
fn start_with_host(engine: &Arc<Engine>) -> Result<()> {
    let engine = engine.clone();
    std::thread::Builder::new()
        .name("autostart".to_owned())
        .spawn(move || engine.start_with_host())
        .map(drop)
        .map_err(|cause| {
            Error::new(Code::Host, "start the thread `autostart`").cause(cause.to_string())
        })
}

async fn serve(
    location: &Location,
    config: &Config,
    engine: &Arc<Engine>,
    lock: &Arc<StateLock>,
) -> Result<()> {
    let shutdown = Shutdown::new();
    let socket = server::listen(&location.socket)?;
    let resolver = start_resolver(location, config, engine, &shutdown);
    tokio::spawn(shut_down_on_signal(shutdown.clone()));
    tokio::spawn(end_without_state(lock.clone(), shutdown.clone()));
    tracing::info!(socket = %location.socket.display(), "ready");
    say(&format!("ready {}", location.socket.display()));
    tell_systemd(&NotifyState::Ready);
    let served = server::serve(socket, engine.clone(), shutdown.clone()).await;
    tell_systemd(&NotifyState::Stopping);
    shutdown.begin();
    if let Some(resolver) = resolver {
        let _ = resolver.await;
    }
    served.map_err(|cause| Error::new(Code::Host, "serve").cause(cause.to_string()))
}

async fn shut_down_on_signal(shutdown: Shutdown) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.begin();
}

/// The one place that reads the environment.
#[expect(clippy::disallowed_methods, reason = "read once, here, and passed on")]
fn environment(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).map(PathBuf::from);
    let uid = rustix::process::geteuid().as_raw();
    if name == "HOME" && !value.as_deref().is_some_and(Path::is_absolute) {
        return usual_home(uid);
    }
    if name != "XDG_RUNTIME_DIR" {
        return value;
    }
    // The client uses the same path.
    let runtime = Runtime::find(value, uid);
    if let Some(why) = runtime.passed_over {
        let _ = writeln!(std::io::stderr(), "warning: {why}");
    }
    runtime.folder
}

/// The settings from environment variables; empty ones are ignored. `BANGER_RUNTIME_DIR` is a path,
/// and read elsewhere.
fn overrides() -> Overrides {
    let keys = KEYS.iter().filter(|key| **key != "runtime_dir");
    let set = keys.filter_map(|key| {
        let value = environment(&variable(key))?.into_os_string();
        let text = value.to_string_lossy().into_owned();
        (!text.is_empty()).then(|| ((*key).to_owned(), text))
    });
    set.collect()
}

fn make_private(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(|cause| {
        Error::new(
            Code::Host,
            format!("make the state directory `{}`", folder.display()),
        )
        .cause(cause.to_string())
        .hint("choose another: banger --state DIR …")
    })
}

/// Raises the limit of descriptors: each running VM and client uses some, and the soft limit of
/// most logins is 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays");
    }
}

fn start_log(layout: &Layout) -> Result<()> {
    let path = layout.log();
    log::start(&path).map_err(|cause| {
        Error::new(Code::Host, format!("open the log `{}`", path.display()))
            .cause(cause.to_string())
    })
}

/// Prints the state to the starter, as one line, and closes standard output.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The starter may be gone; the daemon continues.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    drop(out);
    // The starter reads to the end of this pipe; later messages go to the log.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// Notifies systemd of the state, if it started the daemon (`Type=notify`, sd_notify(3)).
fn tell_systemd(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// Prints why the daemon cannot start: as text, or as one line of JSON.
pub fn complain(error: &Error, json: bool) {
    let text = if json {
        serde_json::to_string(error).ok()
    } else {
        None
    };
    let text = text.unwrap_or_else(|| error.report());
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The exit status of a command that has failed: 130 after ^C, as shells report for SIGINT.
#[must_use]
pub fn status_of_failure() -> u8 {
    if was_interrupted() { 130 } else { 1 }
}
