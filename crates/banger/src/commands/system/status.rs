//! `banger system status`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use banger_api::Result;
use clap::Args;
use serde::Serialize;

use super::account::Account;
use super::helper::{self, Claim, Installed};
use crate::failure::Outcome;
use crate::output::{Colour, Output};
use crate::programs::{self, Verbosity};
use crate::session::Session;
use crate::systemd::{Systemd, UNIT};

/// Show how banger is set up as a service; exit status 1 if it is not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger system status
  banger system status --json | jq .units")]
pub(crate) struct Status {
    /// Of this user, where root asks; of the one who typed `sudo`, or root itself, otherwise.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// How a unit stands, in systemd's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Unit {
    name: String,
    /// `active`, `inactive`, `failed` …
    active: String,
    /// `enabled`, `disabled`, `not-found` …
    enabled: String,
}

impl Unit {
    fn is_well(&self) -> bool {
        self.active == "active" && self.enabled == "enabled"
    }
}

/// How all of it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ServiceStatus {
    user: String,
    /// Whether that is root, whose daemon needs no helper.
    is_root: bool,
    /// Whether root's helper answers this user.
    answers: bool,
    socket: PathBuf,
    /// What root keeps for the user.
    claim: Option<Claim>,
    /// The version that the installed helper says.
    version: Option<String>,
    programs: Vec<Installed>,
    units: Vec<Unit>,
    /// Whether the user's units live on when nobody is logged in; nothing without systemd.
    linger: Option<bool>,
    /// How the daemon changes the host, where one runs.
    daemon: Option<String>,
}

impl Status {
    /// Shows it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let account = Account::find(self.user.as_deref(), &session.places)?;
        let stands = look(&account, session)?;
        let whole = if account.is_root() {
            stands.units.iter().all(Unit::is_well) && !stands.units.is_empty()
        } else {
            stands.claim.is_some() && stands.answers
        };
        session
            .output
            .result(&stands, || text(&stands, session.output))?;
        // Without systemd there is nothing to set up for root.
        if !whole && (!account.is_root() || stands.linger.is_some()) {
            session
                .output
                .note("set it up, or anew: banger system install");
        }
        Ok(if whole {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn look(account: &Account, session: &Session) -> Result<ServiceStatus> {
    let systemd = Systemd::new(&session.places);
    let uid = account.uid;
    let mut units = Vec::new();
    let mut linger = None;
    if systemd.is_there() {
        if !account.by_root {
            units.push(state_of(UNIT, |words| systemd.user(words))?);
        }
        let socket = (!account.is_root()).then(|| format!("banger-root@{uid}.socket"));
        let of_root = [helper::shutdown_unit(uid), helper::firewall_unit(uid)];
        for name in socket.into_iter().chain(of_root) {
            units.push(state_of(&name, |words| systemd.system(words))?);
        }
        linger = lingers(account, session);
    }
    let daemon = if account.by_root {
        None
    } else {
        session.running_daemon()?
    };
    let programs = if account.is_root() {
        Vec::new()
    } else {
        helper::installed()
    };
    Ok(ServiceStatus {
        user: account.name.clone(),
        is_root: account.is_root(),
        answers: helper::answers(uid),
        socket: helper::socket(uid),
        claim: helper::claim(uid),
        version: version(&programs),
        programs,
        units,
        linger,
        daemon: daemon.map(|(_, view)| view.mode),
    })
}

fn state_of(name: &str, ask: impl Fn(&[&str]) -> Result<programs::ProgramOutput>) -> Result<Unit> {
    let word = |ended: programs::ProgramOutput, none: &str| match ended.stdout.lines().next() {
        Some(word) if !word.is_empty() => word.to_owned(),
        _ => none.to_owned(),
    };
    Ok(Unit {
        name: name.to_owned(),
        active: word(ask(&["is-active", name])?, "unknown"),
        enabled: word(ask(&["is-enabled", name])?, "not-found"),
    })
}

fn lingers(account: &Account, session: &Session) -> Option<bool> {
    let loginctl = programs::find(session.places.search.as_deref(), "loginctl")?;
    let uid = account.uid.to_string();
    let words = ["show-user", &uid, "--property=Linger", "--value"].map(Into::into);
    let ended = programs::run(&loginctl, &words, &[], Verbosity::Nothing).ok()?;
    // logind knows nobody who is neither logged in nor lingers.
    Some(ended.done && ended.stdout == "yes")
}

fn version(programs: &[Installed]) -> Option<String> {
    let helper = programs
        .iter()
        .find(|it| it.path.ends_with("banger-root"))?;
    let ended = programs::run(&helper.path, &["--version".into()], &[], Verbosity::Nothing).ok()?;
    ended.stdout.split_whitespace().nth(1).map(str::to_owned)
}

fn text(stands: &ServiceStatus, output: Output) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    let good = |text: &str| output.paint(Colour::Green, text);
    let doubtful = |text: &str| output.paint(Colour::Yellow, text);
    let socket = stands.socket.display();
    let version = stands.version.as_deref().unwrap_or("");
    line(
        "helper",
        &if stands.is_root {
            good("not needed: root's daemon works directly")
        } else if stands.answers {
            good(&format!("answers {} on {socket} {version}", stands.user))
        } else {
            doubtful(&format!("does not answer {} on {socket}", stands.user))
        },
    );
    match &stands.claim {
        Some(claim) => {
            line("state", &claim.state.display().to_string());
            line("subnet", &claim.subnet);
            line("DNS", &format!("127.0.0.1:{}", claim.dns_port));
        }
        None if stands.is_root => {}
        None => line("claim", &doubtful("not installed for this user")),
    }
    for program in &stands.programs {
        let same = match program.is_ours {
            Some(true) => good("same as beside banger"),
            Some(false) => doubtful("differs from the one beside banger"),
            None => String::new(),
        };
        let short: String = program.sha256.chars().take(16).collect();
        line(
            "program",
            &format!("{} {short}… {same}", program.path.display()),
        );
    }
    for unit in &stands.units {
        let state = format!("{} {}, {}", unit.name, unit.active, unit.enabled);
        line(
            "unit",
            &if unit.is_well() {
                good(&state)
            } else {
                doubtful(&state)
            },
        );
    }
    match stands.linger {
        Some(true) => line("linger", &good("on: VMs live on when you log out")),
        Some(false) => line(
            "linger",
            &doubtful("off: VMs end when you log out; sudo loginctl enable-linger $USER"),
        ),
        None => line("systemd", &doubtful("does not run here")),
    }
    let daemon = stands.daemon.as_deref();
    line(
        "daemon",
        &daemon.map_or("does not run".to_owned(), |mode| {
            format!("runs in {mode} mode")
        }),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_shown() {
        let stands = ServiceStatus {
            user: "ada".into(),
            is_root: false,
            answers: true,
            socket: helper::socket(1000),
            claim: Some(Claim {
                uid: 1000,
                user: "ada".into(),
                state: "/home/ada/.local/state/banger".into(),
                subnet: "10.215.16.0/20".into(),
                dns_port: 42070,
            }),
            version: Some("0.1.0".into()),
            programs: vec![Installed {
                path: "/usr/local/libexec/banger/banger-root".into(),
                sha256: "0123456789abcdef0123".into(),
                is_ours: Some(false),
            }],
            units: vec![Unit {
                name: UNIT.into(),
                active: "active".into(),
                enabled: "enabled".into(),
            }],
            linger: Some(false),
            daemon: Some("root-helper".into()),
        };
        let output = Output {
            json: false,
            quiet: false,
            terminal: false,
            colour: false,
        };
        insta::assert_snapshot!(text(&stands, output), @r"
        helper      answers ada on /run/banger/1000/root.sock 0.1.0
        state       /home/ada/.local/state/banger
        subnet      10.215.16.0/20
        DNS         127.0.0.1:42070
        program     /usr/local/libexec/banger/banger-root 0123456789abcdef… differs from the one beside banger
        unit        bangerd.service active, enabled
        linger      off: VMs end when you log out; sudo loginctl enable-linger $USER
        daemon      runs in root-helper mode
        ");
    }
}
