//! `banger --host HOST ssh-config`: VMs of another machine as `NAME.HOST`.
//!
//! One block with a pattern is enough: banger connects, and writes the host keys that ssh reads
//! then.

use std::process::ExitCode;

use banger_api::{Code, Error};

use super::user_config::UserConfig;
use super::{home, tell};
use crate::commands::doctor;
use crate::failure::Outcome;
use crate::remote::{Contexts, Remote, contexts_file};
use crate::session::Session;

/// Prints, installs or removes the block of a named host.
pub(super) fn run(remote: &Remote, session: &Session, install: bool, remove: bool) -> Outcome {
    let contexts = Contexts::read(&contexts_file(&session.places.location.config))?;
    let host = remote.name();
    if !contexts.hosts.contains_key(host) {
        return Err(
            Error::new(Code::Invalid, format!("`{host}` has no name for NAME.HOST"))
                .hint(format!("give it one: banger host add NAME {host}"))
                .hint("then: banger --host NAME ssh-config")
                .into(),
        );
    }
    let file = remote.ssh_config_file()?;
    if remove {
        let own = UserConfig::of(&home(session)?);
        let already = !own.remove(&file)?;
        tell(session, &own, &file, false, already)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = remote.ssh_config(&doctor::own_program(&session.places)?)?;
    if !install {
        session.output.result(&text, || text.clone())?;
        return Ok(ExitCode::SUCCESS);
    }
    crate::remote::write_file(&file, &text)?;
    let own = UserConfig::of(&home(session)?);
    let already = !own.install(&file)?;
    tell(session, &own, &file, true, already)?;
    Ok(ExitCode::SUCCESS)
}
