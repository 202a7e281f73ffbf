//! `banger ssh-config`.

mod of_host;
mod user_config;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use banger_api::location::usual_home;
use banger_api::{Code, Error, Result};
use clap::Args;
use serde::Serialize;

use crate::agreement;
use crate::failure::Outcome;
use crate::session::Session;
use user_config::UserConfig;

/// Let ssh, scp, rsync, Ansible and editors reach VMs by name.
///
/// The daemon writes one file with a block for each VM (Host NAME.vm NAME): address or port, user, key, and the pinned host key. The file follows new, renamed and deleted VMs, and ports that change. Without an option, print it.
///
/// With --host NAME, for a host of `banger host add`, every VM of that machine is NAME.HOST: one block for all of them, which needs no changes.
///
/// --install includes it at the beginning of ~/.ssh/config, because ssh uses the first value it finds. --remove takes that out again, and nothing else.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger ssh-config --install
  ssh calm-otter.vm
  rsync -a src calm-otter.vm:
  banger ssh-config --remove")]
pub(crate) struct SshConfig {
    /// Include the file in ~/.ssh/config.
    #[arg(long, conflicts_with = "remove")]
    install: bool,

    /// Take it out of ~/.ssh/config.
    #[arg(long)]
    remove: bool,
}

/// The answer in JSON.
#[derive(Debug, Serialize)]
struct Answer<'t> {
    /// The daemon's file.
    file: &'t Path,
    /// The user's own.
    config: &'t Path,
    /// Whether the user's own file includes it now.
    installed: bool,
    /// Whether it was in that state before.
    already: bool,
}

impl SshConfig {
    /// Prints, installs or removes it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        if let Some(remote) = &session.places.remote {
            return of_host::run(remote, session, self.install, self.remove);
        }
        if self.remove {
            return Self::remove(session);
        }
        let daemon = session.daemon()?;
        let view = session.daemon_view()?;
        if agreement::is_simulated(view) {
            return Err(Error::new(
                Code::Conflict,
                "the VMs are simulated: there is nothing to log in to",
            )
            .hint("for real VMs use another state directory: banger --state DIR ssh-config")
            .into());
        }
        let file = file(Path::new(&view.state));
        if !self.install {
            let text = std::fs::read_to_string(&file).map_err(|cause| unread(&file, &cause))?;
            session.output.result(&text, || text.clone())?;
            return Ok(ExitCode::SUCCESS);
        }
        if !file.exists() {
            return Err(
                Error::new(Code::NotReady, "the daemon is older than this program")
                    .hint("stop it, its VMs keep running: banger daemon stop")
                    .into(),
            );
        }
        let own = UserConfig::of(&home(session)?);
        let already = !own.install(&file)?;
        tell(session, &own, &file, true, already)?;
        let names: Vec<String> = daemon
            .list()?
            .iter()
            .map(|vm| vm.name.to_string())
            .collect();
        for host in own.shadowed(&names) {
            session.output.warning(&format!(
                "the VM `{host}` now hides the host of the same name in {}; rename one of them: banger vm rename {host} NEW_NAME",
                own.path().display()
            ));
        }
        if let Some(usual) = usual_home(rustix::process::geteuid().as_raw())
            .filter(|usual| !own.path().starts_with(usual))
        {
            session.output.note(&format!(
                "ssh does not follow HOME: it reads {}/.ssh/config; to use this one: ssh -F {}",
                usual.display(),
                own.path().display()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Removes the lines, which needs no daemon and no VM.
    fn remove(session: &Session) -> Outcome {
        let state = &session.places.location.state;
        // The daemon names it by its real path.
        let state = std::fs::canonicalize(state).unwrap_or_else(|_| state.clone());
        let file = file(&state);
        let own = UserConfig::of(&home(session)?);
        let already = !own.remove(&file)?;
        tell(session, &own, &file, false, already)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(
    session: &Session,
    own: &UserConfig,
    file: &Path,
    installed: bool,
    already: bool,
) -> std::io::Result<()> {
    let config = own.path();
    let answer = Answer {
        file,
        config,
        installed,
        already,
    };
    session.output.result(&answer, || {
        let config = config.display();
        let host = session.places.remote.as_ref();
        let host = host.map_or("vm", |remote| remote.name());
        match (installed, already) {
            (true, false) => {
                format!(
                    "{config} includes {}\ntry it: ssh NAME.{host}",
                    file.display()
                )
            }
            (true, true) => format!("{config} includes {} already", file.display()),
            (false, false) => format!("{config} is as it was"),
            (false, true) => format!("{config} does not include {}", file.display()),
        }
    })
}

/// The daemon's file.
fn file(state: &Path) -> PathBuf {
    state.join("ssh/config")
}

fn home(session: &Session) -> Result<PathBuf> {
    let usual = || usual_home(rustix::process::geteuid().as_raw());
    session
        .places
        .home
        .clone()
        .or_else(usual)
        .ok_or_else(|| Error::new(Code::Invalid, "you have no home directory").hint("set HOME"))
}

fn unread(file: &Path, cause: &std::io::Error) -> Error {
    Error::new(Code::Host, format!("read `{}`", file.display()))
        .cause(cause.to_string())
        .hint("an older daemon does not write it: banger daemon stop")
}
