//! Installs root's own daemon, which needs no helper: lingering keeps it when root logs out, and a
//! unit stops its VMs when the host shuts down.

use std::path::{Path, PathBuf};

use super::user::User;
use super::{InstallRequest, Paths, programs, units};
use crate::root::confine::check_file;
use crate::{Error, Kind, Result};

/// Root's user id.
pub(super) const ROOT: u32 = 0;

/// Installs the unit.
///
/// # Errors
/// If the request has an option that only the helper uses, or another user could change a program
/// that the unit runs.
pub(super) fn install(
    paths: &Paths,
    request: &InstallRequest,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let helped = [
        ("--subnet", request.subnet.is_some()),
        ("--dns-port", request.dns_port.is_some()),
        ("--firecracker", request.firecracker.is_some()),
        ("--jailer", request.jailer.is_some()),
    ];
    if let Some((option, _)) = helped.iter().find(|(_, given)| *given) {
        let text = format!("`{option}` is for a user whom banger-root serves");
        return Err(Error::new(Kind::Unsupported, text).hint(
            "for root's own: subnet, dns_port and firecracker in ~/.config/banger/config.toml",
        ));
    }
    let root = User::find(ROOT)?;
    let state = root.check_state(&request.state)?;
    let cli = only_root_s(&programs::check_cli(&request.cli)?)?;
    // The CLI writes this program's path into the daemon's unit.
    only_root_s(&cli.with_file_name("bangerd"))?;
    let program = only_root_s(&cli.with_file_name("banger-root"))?;
    units::put_own(paths, &root, &state, (&cli, &program), say)
}

/// The real path of a program that only root can change; root runs it at each boot.
fn only_root_s(program: &Path) -> Result<PathBuf> {
    let found = program
        .canonicalize()
        .map_err(|cause| Error::io(format!("examine `{}`", program.display()), cause));
    found
        .and_then(|found| check_file(&found).map(|()| found))
        .map_err(|error| {
            error.hint("install banger where only root can write: make install, as root")
        })
}

/// Uninstalls the unit; running VMs continue.
pub(super) fn uninstall(paths: &Paths, say: &mut dyn FnMut(&str)) -> Result<()> {
    if units::remove_own(paths)? {
        say("root's VMs are no longer stopped before the host shuts down");
        say(units::LINGER_STAYS);
    } else {
        say("nothing is installed");
    }
    Ok(())
}
