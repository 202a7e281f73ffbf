//! `banger daemon`.

mod log_line;
mod logs;

use std::process::ExitCode;
use std::time::Duration;

use banger_api::client::Client;
use banger_api::configuration::variable;
use banger_api::{Code, DaemonView, Error, LogLevel, LogLevelView, ReloadReport};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logs::Logs;
pub(crate) use logs::follow_log;
use rustix::process::{Pid, PidfdFlags};
use serde::Serialize;

use super::config;
use crate::failure::Outcome;
use crate::output::{clean, say};
use crate::session::Session;
use crate::{age, agreement, connect};

/// The time that a daemon has to end after it has announced it.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// What to do with the daemon.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show whether the daemon is running, and how; exit status 1 if it is not.
    ///
    /// Never starts the daemon.
    #[command(after_help = "\
Examples:
  banger daemon status
  banger daemon status --json | jq .pid")]
    Status,
    /// Print the path of the daemon's socket, whether or not the daemon is running.
    #[command(after_help = "\
Examples:
  banger daemon socket
  curl --unix-socket \"$(banger daemon socket)\" http://banger/v1/vms")]
    Socket,
    Start(Start),
    Logs(Logs),
    /// Show how much the daemon logs, or change it until it ends or reloads.
    ///
    /// To keep a level, set it in the configuration: banger config set log_level debug
    #[command(after_help = "\
Examples:
  banger daemon log-level
  banger daemon log-level debug")]
    LogLevel {
        /// debug, info, warn or error.
        level: Option<LogLevel>,
    },
    /// Have the daemon read its configuration again.
    ///
    /// What new VMs have by default, the timeouts and the log's level change at once. The other settings wait for the daemon's next start, and are named.
    #[command(after_help = "\
Examples:
  banger daemon reload")]
    Reload,
    /// Stop the daemon if it is running, and start it. VMs keep running.
    ///
    /// All settings of the configuration and the newest installed bangerd take effect. A simulated daemon starts again as a simulated one, without its VMs.
    #[command(after_help = "\
Examples:
  banger daemon restart")]
    Restart,
    /// Stop the daemon. VMs keep running, and the next daemon takes them over.
    ///
    /// Simulated VMs end with their daemon. While no daemon is running, names are not answered and a flushed firewall is not restored. The next `banger vm` command starts it again.
    #[command(after_help = "\
Examples:
  banger daemon stop")]
    Stop,
}

/// Start the daemon if it is not running. Every `banger vm` command does so by itself.
#[derive(Debug, Clone, Copy, Args)]
#[command(after_help = "\
Examples:
  banger daemon start

Try banger without privileges and without real VMs:
  banger daemon start --sim --state ~/trial")]
pub(crate) struct Start {
    /// Simulate the machine: no VM is real [env: BANGER_SIM=1].
    #[arg(long)]
    sim: bool,
}

impl Verb {
    /// Does it.
    pub(crate) fn run(self, session: Session) -> Outcome {
        match self {
            Self::Status => status(&session),
            Self::Socket => socket(&session),
            Self::Start(start) => start.run(session),
            Self::Logs(logs) => logs.run(&session),
            Self::LogLevel { level } => log_level(&session, level),
            Self::Reload => reload(&session),
            Self::Restart => restart(session),
            Self::Stop => stop(&session),
        }
    }
}

fn restart(mut session: Session) -> Outcome {
    if let Some((client, view)) = session.running_daemon()? {
        let view = end(&client, &view)?;
        session.places.sim |= agreement::is_simulated(&view);
        if !session.output.json && !session.output.quiet {
            say(farewell(&view));
        }
    }
    show(&session, session.daemon_view()?)
}

fn reload(session: &Session) -> Outcome {
    let (client, _) = running(session)?;
    let reloaded = client.reload()?;
    if session.output.json {
        session.output.value(&reloaded)?;
        return Ok(ExitCode::SUCCESS);
    }
    if reloaded == ReloadReport::default() && !session.output.quiet {
        say("nothing has changed");
    }
    config::say_reloaded(session.output, &reloaded);
    Ok(ExitCode::SUCCESS)
}

fn log_level(session: &Session, level: Option<LogLevel>) -> Outcome {
    let (client, view) = running(session)?;
    let view = match level {
        Some(level) => client.set_log_level(level)?,
        None => LogLevelView {
            level: view.log_level,
        },
    };
    session.output.result(&view, || view.level.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn running(session: &Session) -> Result<(Client, DaemonView), Error> {
    session.running_daemon()?.ok_or_else(|| {
        let socket = session.places.location.socket.display();
        Error::new(Code::NotReady, format!("no daemon answers on `{socket}`"))
            .hint("it is started when needed, or now with: banger daemon start")
    })
}

fn status(session: &Session) -> Outcome {
    let (_, view) = running(session)?;
    agreement::has_what_is_wanted(&view, &session.places)?;
    show(session, &view)
}

fn show(session: &Session, view: &DaemonView) -> Outcome {
    session
        .output
        .result(view, || text(view, Timestamp::now(), &TimeZone::system()))?;
    Ok(ExitCode::SUCCESS)
}

fn text(view: &DaemonView, now: Timestamp, zone: &TimeZone) -> String {
    let mut text = format!(
        "bangerd {} runs as process {} in {} mode\n\
         since:   {}\n\
         VMs:     {} ({} running)\n\
         socket:  {}\n\
         state:   {}\n\
         config:  {}\n\
         bundle:  {} ({})\n\
         DNS:     {}\n\
         log:     {}/bangerd.log, {}\n",
        view.version,
        view.pid,
        view.mode,
        age::moment(view.started, now, zone),
        view.vms,
        view.running,
        view.socket,
        view.state,
        view.config,
        view.bundle,
        view.bundle_reason,
        view.dns
            .as_deref()
            .unwrap_or("not available: see banger doctor"),
        view.state,
        view.log_level,
    );
    for (key, value) in &view.overrides {
        text += &format!("set by:  {}={value}\n", variable(key));
    }
    for unexplained in &view.unexplained {
        text += &format!("unexplained: {unexplained}\n");
    }
    clean(&text)
}

fn socket(session: &Session) -> Outcome {
    let socket = &session.places.location.socket;
    let value = serde_json::json!({ "socket": socket });
    session
        .output
        .result(&value, || socket.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

impl Start {
    fn run(self, mut session: Session) -> Outcome {
        session.places.sim |= self.sim;
        show(&session, session.daemon_view()?)
    }
}

fn stop(session: &Session) -> Outcome {
    let output = session.output;
    let Some((client, view)) = session.running_daemon()? else {
        if output.json {
            output.value(&StopReport {
                daemon: None,
                already: true,
            })?;
        } else {
            say("bangerd is not running");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let view = end(&client, &view)?;
    let ended = StopReport {
        daemon: Some(&view),
        already: false,
    };
    output.result(&ended, || farewell(&view))?;
    Ok(ExitCode::SUCCESS)
}

/// The end of a daemon, in JSON.
#[derive(Debug, Serialize)]
struct StopReport<'a> {
    /// The daemon's last state; `None` if none was running.
    #[serde(flatten)]
    daemon: Option<&'a DaemonView>,
    /// Whether no daemon was running, so that nothing was done.
    already: bool,
}

/// The message about the VMs of a daemon that has ended.
fn farewell(view: &DaemonView) -> String {
    let vms = match (agreement::is_simulated(view), view.vms, view.running) {
        (true, 0, _) | (false, _, 0) => return "bangerd is stopped".to_owned(),
        (true, 1, _) => "its simulated VM is gone".to_owned(),
        (true, vms, _) => format!("its {vms} simulated VMs are gone"),
        (false, _, 1) => "one VM keeps running".to_owned(),
        (false, _, running) => format!("{running} VMs keep running"),
    };
    format!("bangerd is stopped; {vms}")
}

/// Ends the daemon if one is running, and waits until it has ended. Its VMs keep running.
///
/// # Errors
/// If it does not end.
pub(crate) fn end_running(session: &Session) -> Result<(), Error> {
    match session.running_daemon()? {
        Some((client, view)) => end(&client, &view).map(drop),
        None => Ok(()),
    }
}

/// Ends the daemon, waits until it has ended, and returns its last state.
fn end(client: &Client, view: &DaemonView) -> Result<DaemonView, Error> {
    // Opened while the daemon certainly runs, so that no later process is mistaken for it.
    let process = i32::try_from(view.pid)
        .ok()
        .and_then(Pid::from_raw)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    let view = client.stop_daemon()?;
    if let Some(process) = process
        && !connect::is_readable(&process, END_DEADLINE)
    {
        return Err(Error::new(
            Code::Host,
            format!(
                "bangerd is stopping, but process {} has not ended",
                view.pid
            ),
        )
        .hint("see its log: banger daemon logs"));
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_where_everything_is() {
        let view = DaemonView {
            version: "0.1.0".into(),
            pid: 4711,
            mode: "sim".into(),
            socket: "/run/user/1000/banger/bangerd.sock".into(),
            state: "/home/ada/.local/state/banger".into(),
            config: "/home/ada/.config/banger/config.toml".into(),
            bundle: "/home/ada/.local/share/banger/bundle".into(),
            bundle_reason: "your own".into(),
            dns: None,
            started: Timestamp::from_second(1_800_000_000).unwrap(),
            vms: 3,
            running: 2,
            unexplained: vec!["TAP `bngr0`".into()],
            overrides: [("memory".to_owned(), "4G".to_owned())].into(),
            log_level: LogLevel::Debug,
            trash: false,
        };
        let now = Timestamp::from_second(1_800_000_300).unwrap();
        insta::assert_snapshot!(text(&view, now, &TimeZone::UTC), @r"
        bangerd 0.1.0 runs as process 4711 in sim mode
        since:   2027-01-15 08:00:00 +00:00 (5m ago)
        VMs:     3 (2 running)
        socket:  /run/user/1000/banger/bangerd.sock
        state:   /home/ada/.local/state/banger
        config:  /home/ada/.config/banger/config.toml
        bundle:  /home/ada/.local/share/banger/bundle (your own)
        DNS:     not available: see banger doctor
        log:     /home/ada/.local/state/banger/bangerd.log, debug
        set by:  BANGER_MEMORY=4G
        unexplained: TAP `bngr0`
        ");
    }
}
