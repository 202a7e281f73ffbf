//! `banger system install`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use banger_api::{Code, Error, Result};
use clap::Args;
use serde::Serialize;

use super::account::{Account, own_program};
use super::helper::{self, Installation};
use super::{UserArgument, unit};
use crate::failure::Outcome;
use crate::programs;
use crate::session::Session;
use crate::systemd::{Systemd, UNIT};

/// Set up banger as a service: VMs with their own network, without root.
///
/// Asks for your password once, through sudo. Root gets one small program, banger-root, which only root can change: it makes your VMs' network interfaces, firewall rules and disk snapshots, and nothing else. You get the unit bangerd.service of your own systemd. VMs then keep running when you log out, and stop cleanly when the machine shuts down.
///
/// Root's own daemon needs no helper: for root, this installs the unit, and its VMs stop cleanly too.
///
/// To upgrade, run it again: it installs the programs beside this one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger system install
  banger system install --firecracker ~/fc/firecracker --jailer ~/fc/jailer
  sudo banger system install --user ada")]
pub(crate) struct Install {
    #[command(flatten)]
    whom: UserArgument,

    /// A static firecracker, which is copied.
    #[arg(long, value_name = "PATH")]
    firecracker: Option<PathBuf>,

    /// Its jailer, which is copied.
    #[arg(long, value_name = "PATH")]
    jailer: Option<PathBuf>,

    /// The network of your VMs [default: an unused one].
    #[arg(long, value_name = "CIDR")]
    subnet: Option<String>,

    /// The port on 127.0.0.1 that answers NAME.vm [default: an unused one].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    dns_port: Option<u16>,
}

/// The result.
#[derive(Debug, Serialize)]
struct InstallReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<Installation>,
    /// The path of the daemon's unit, if it was written.
    unit: Option<PathBuf>,
    /// The steps that were skipped, with the reasons.
    skipped: Vec<String>,
}

impl Install {
    /// Runs it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let account = Account::find(self.whom.user.as_deref(), &session.places)?;
        let mut done = InstallReport {
            helper: None,
            unit: None,
            skipped: Vec::new(),
        };
        if !self.whom.user_part {
            done.helper = Some(self.root_part(&account, session)?);
        }
        if account.by_root {
            let words = ["system", "install", "--user-part", "--quiet"];
            account.run_as_user(&words, session)?;
        } else {
            user_part(&mut done, &account, session)?;
        }
        session.output.result(&done, || text(&done))?;
        for skipped in &done.skipped {
            session.output.warning(skipped);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn root_part(&self, account: &Account, session: &Session) -> Result<Installation> {
        let mut words: Vec<OsString> = vec!["install".into()];
        let mut add = |option: &str, value: &dyn AsRef<std::ffi::OsStr>| {
            words.extend([option.into(), value.as_ref().to_owned()]);
        };
        add("--uid", &account.uid.to_string());
        add("--state", &account.state(&session.places));
        add("--cli", &own_program()?);
        for (option, path) in [
            ("--firecracker", &self.firecracker),
            ("--jailer", &self.jailer),
        ] {
            if let Some(path) = path {
                add(option, &absolute(path)?);
            }
        }
        if let Some(subnet) = &self.subnet {
            add("--subnet", subnet);
        }
        if let Some(port) = self.dns_port {
            add("--dns-port", &port.to_string());
        }
        helper::parse_installation(&helper::run(&words, account, session)?.stdout, account)
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|cause| {
        Error::new(Code::Invalid, format!("find `{}`", path.display())).cause(cause.to_string())
    })
}

/// Writes and starts the daemon's unit, after stopping a daemon that was started by hand.
fn user_part(done: &mut InstallReport, account: &Account, session: &Session) -> Result<()> {
    let systemd = Systemd::new(&session.places);
    let Some(path) = systemd.unit_path().filter(|_| systemd.is_there()) else {
        done.skipped.push(
            "systemd is not running: there is no unit, and `banger` starts the daemon itself"
                .to_owned(),
        );
        return Ok(());
    };
    if !systemd.has_usual_places(&session.places) {
        done.skipped.push(format!(
            "`{}` is not the default state directory: there is no unit for it, and `banger` starts its daemon itself",
            session.places.location.state.display()
        ));
        return Ok(());
    }
    // For root, only the program beside this one has been checked to be root's own.
    let search = session.places.search.as_deref();
    let program = programs::find_bangerd(search.filter(|_| !account.is_root()))?;
    unit::write(&path, &unit::text(&program, account.is_root()))?;
    systemd.user_does(&["daemon-reload"])?;
    systemd.user_does(&["enable", UNIT])?;
    super::super::daemon::end_running(session)?;
    // `start` would not restart a unit that is still stopping.
    systemd.user_does(&["restart", UNIT])?;
    done.unit = Some(path);
    Ok(())
}

fn text(done: &InstallReport) -> String {
    let mut lines = Vec::new();
    if let Some(placed) = &done.helper {
        for program in &placed.programs {
            let field = |name: &str| program.get(name).map_or("", String::as_str);
            lines.push(format!("{}  {}", field("sha256"), field("path")));
        }
        lines.extend(placed.claim.as_ref().map(|claim| {
            format!(
                "root serves {} with the network {}; names are answered on 127.0.0.1:{}",
                claim.user, claim.subnet, claim.dns_port
            )
        }));
    }
    if let Some(unit) = &done.unit {
        lines.push(format!("bangerd runs as {UNIT} ({})", unit.display()));
    }
    lines.push("check it: banger system status".to_owned());
    lines.join("\n")
}
