//! Root's own daemon, which needs no helper: only what keeps it when root logs out, and what stops
//! its VMs when the host goes down.

use super::user::User;
use super::{Places, Wishes, programs, units};
use crate::root::confine::check_file;
use crate::{Error, Kind, Result};

/// Root's number.
pub(super) const ROOT: u32 = 0;

/// Puts the unit in place.
///
/// # Errors
/// Where something is asked for that only the helper gives, or somebody else could change a
/// program that the unit runs.
pub(super) fn install(places: &Places, wishes: &Wishes, say: &mut dyn FnMut(&str)) -> Result<()> {
    let helped = [
        ("--subnet", wishes.subnet.is_some()),
        ("--dns-port", wishes.dns_port.is_some()),
        ("--firecracker", wishes.firecracker.is_some()),
        ("--jailer", wishes.jailer.is_some()),
    ];
    if let Some((option, _)) = helped.iter().find(|(_, given)| *given) {
        let text = format!("`{option}` is for a user whom banger-root serves");
        return Err(Error::new(Kind::Unsupported, text).hint(
            "for root's own: subnet, dns_port and firecracker in ~/.config/banger/config.toml",
        ));
    }
    let cli = programs::check_cli(&wishes.cli)?;
    // What runs as root at each boot is nobody else's to change.
    for program in [cli.clone(), cli.with_file_name("bangerd")] {
        if let Ok(program) = program.canonicalize() {
            check_file(&program).map_err(|error| {
                error.hint("install banger where only root writes: make install, as root")
            })?;
        }
    }
    units::put_own(places, &User::find(ROOT)?, &wishes.state, &cli, say)
}

/// Takes it away again; VMs that run go on.
pub(super) fn uninstall(places: &Places, say: &mut dyn FnMut(&str)) -> Result<()> {
    if units::remove_own(places)? {
        say("root's VMs are not stopped any more before the host goes down");
    } else {
        say("nothing is installed");
    }
    Ok(())
}
