//! The question that a new user gets once, and the answer in the configuration.

use banger_api::Result;
use banger_api::configuration::Origin;

use crate::ask::{somebody_is_there, yes_or_no};
use crate::commands::config;
use crate::output::say;
use crate::session::Session;

/// Asks on a terminal whether new VMs have NAT, and saves the answer. None if it is already set, or
/// there is no terminal.
///
/// # Errors
/// If the configuration is invalid.
pub(super) fn of_nat(session: &Session) -> Result<Option<bool>> {
    let output = session.output;
    // Another machine has a configuration of its own.
    if output.quiet || !somebody_is_there(output) || session.places.remote.is_some() {
        return Ok(None);
    }
    let settings = config::settings(session)?;
    let is_open = |it: &&banger_api::configuration::Setting| it.key == "nat";
    let nat = settings.iter().find(is_open);
    if nat.is_none_or(|it| it.origin != Origin::Default) {
        return Ok(None);
    }
    say("VMs have no network beyond this host unless they have NAT. This is asked once.");
    let Some(answer) = yes_or_no("Shall new VMs have NAT?") else {
        return Ok(None);
    };
    let written = config::change(session, &["set", "--", "nat", &answer.to_string()]);
    let path = session.places.location.config.display();
    if let Err(error) = written {
        // A user whose file cannot be written, as in a read-only store, can create VMs all the
        // same.
        let why = error.causes.last().unwrap_or(&error.message);
        output.warning(&format!(
            "the answer applies to this VM only, because `{path}` cannot be written: {why}"
        ));
        return Ok(Some(answer));
    }
    say(format_args!(
        "`nat = {answer}` is in {path}; a VM's own: --nat or --no-nat"
    ));
    if let Some((client, _)) = session.running_daemon()? {
        client.reload()?;
    }
    Ok(Some(answer))
}
