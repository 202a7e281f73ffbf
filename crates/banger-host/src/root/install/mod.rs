//! Installs root's side of banger for one user, and uninstalls it.
//!
//! The whole request is checked before anything is changed. Each file is written atomically, and
//! the next run completes an interrupted one:
//!
//! ```text
//! check ─► programs ─► claim ─► units ─► enabled ─► linger
//! ```
//!
//! Root's own daemon needs no helper, and gets only the last three: see [`own`].

mod files;
mod network;
mod own;
mod paths;
mod programs;
mod status;
#[cfg(test)]
mod tests;
mod units;
mod user;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use paths::Paths;
pub use programs::InstalledProgram;
pub use status::{HelperStatus, ProgramStatus, UnitStatus};

use super::need_root;
use crate::{Claim, Error, Instance, Kind, Linux, Look as _, Result, Subnet};
use crate::{reservation, root_folder};
use user::User;

/// The request of an installation.
#[derive(Debug, Clone, Default)]
pub struct InstallRequest {
    /// The user's number; 0 is root, whose daemon needs no helper.
    pub uid: u32,
    /// The state directory, an absolute path. If it exists, it belongs to the user.
    pub state: PathBuf,
    /// The network of the user's guests; `None` chooses an unused one.
    pub subnet: Option<Subnet>,
    /// The port on 127.0.0.1 that answers names; `None` chooses an unused one.
    pub dns_port: Option<u16>,
    /// The program `banger`, which stops the user's VMs when the host shuts down.
    pub cli: PathBuf,
    /// The Firecracker to copy.
    pub firecracker: Option<PathBuf>,
    /// The jailer to copy.
    pub jailer: Option<PathBuf>,
}

/// The result of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// The grant to the user; `None` for root, which needs none.
    #[serde(flatten)]
    pub claim: Option<Claim>,
    /// The programs that root runs.
    pub programs: Vec<InstalledProgram>,
}

/// Installs everything, and passes a line for each step to `say`.
///
/// # Errors
/// Before any change, if the request cannot be granted. Later, if a step fails; the same call then
/// completes the installation.
pub fn install(request: &InstallRequest, say: &mut dyn FnMut(&str)) -> Result<Installation> {
    need_root()?;
    install_in(&Paths::of_this_host(), request, say)
}

pub(crate) fn install_in(
    paths: &Paths,
    request: &InstallRequest,
    say: &mut dyn FnMut(&str),
) -> Result<Installation> {
    if request.uid == own::ROOT {
        own::install(paths, request, say)?;
        return Ok(Installation {
            claim: None,
            programs: Vec::new(),
        });
    }
    let user = User::find(request.uid)?;
    let state = user.check_state(&request.state)?;
    let cli = programs::check_cli(&request.cli)?;
    let sources =
        programs::Sources::open(request.firecracker.as_deref(), request.jailer.as_deref())?;
    root_folder::make(&paths.claims)?;
    let _held = files::lock(&paths.claims.join("lock"))?;
    let others = others(paths, request.uid)?;
    let before = Claim::read(&paths.claim(request.uid), request.uid).unwrap_or_default();
    check_instance(paths, request.uid, &state, before.as_ref(), &others)?;
    let claim = Claim {
        uid: user.uid,
        user: user.name.clone(),
        subnet: network::subnet(request, before.as_ref(), &others, &state)?,
        dns_port: network::dns_port(request, before.as_ref(), &others)?,
        state,
    };

    // A root daemon may have made it first. Every user passes through it to their socket.
    root_folder::make(&paths.run)?;
    let programs = sources.put(&paths.programs, say)?;
    let text = serde_json::to_string_pretty(&claim)
        .map_err(|cause| Error::new(Kind::Other, cause.to_string()))?;
    files::write(&paths.claim(claim.uid), text.as_bytes(), 0o644)?;
    say(&format!(
        "user {} has {} and DNS port {} for `{}`",
        claim.user,
        claim.subnet,
        claim.dns_port,
        claim.state.display()
    ));
    units::put(paths, &claim, &user, &cli, say)?;
    Ok(Installation {
        claim: Some(claim),
        programs,
    })
}

/// The claims of all other users.
fn others(paths: &Paths, uid: u32) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for name in Linux::new()?.list(&paths.claims)? {
        let Some(other) = name.strip_suffix(".json").and_then(|it| it.parse().ok()) else {
            continue;
        };
        if other != uid {
            claims.extend(Claim::read(&paths.claims.join(name), other)?);
        }
    }
    Ok(claims)
}

/// Rejects an instance that another user has, and a new state directory while objects with the old
/// names exist.
fn check_instance(
    paths: &Paths,
    uid: u32,
    state: &Path,
    before: Option<&Claim>,
    others: &[Claim],
) -> Result<()> {
    let instance = Instance::new(uid, state);
    if let Some(other) = others.iter().find(|it| it.instance() == instance) {
        let text = format!(
            "`{}` would have the names of user {} on this host",
            state.display(),
            other.user
        );
        return Err(Error::new(Kind::Busy, text).hint("choose another state directory"));
    }
    if let Some(other) = reservation::holder(&paths.run, instance)? {
        let text = format!(
            "`{}` would have the names of root's `{}` on this host",
            state.display(),
            other.display()
        );
        return Err(Error::new(Kind::Busy, text).hint("choose another state directory"));
    }
    match before {
        Some(before) if before.instance() != instance => check_empty(before),
        Some(_) | None => Ok(()),
    }
}

/// Fails while an object that root made for the user exists.
fn check_empty(claim: &Claim) -> Result<()> {
    let linux = Linux::new()?;
    let mut left = linux.interfaces(&claim.instance().tap_prefix())?;
    left.extend(linux.snapshots(&claim.instance().name_prefix())?);
    if left.is_empty() {
        return Ok(());
    }
    let text = format!(
        "VMs of user {} in `{}` are not stopped: {}",
        claim.user,
        claim.state.display(),
        left.join(", ")
    );
    Err(Error::new(Kind::Busy, text).hint(format!("as {}: banger vm stop --all", claim.user)))
}

/// Removes what [`install`] installed for this user, and with the last user what all share.
/// Idempotent.
///
/// # Errors
/// If VMs of the user run, or a step fails.
pub fn uninstall(uid: u32, say: &mut dyn FnMut(&str)) -> Result<()> {
    need_root()?;
    uninstall_in(&Paths::of_this_host(), uid, say)
}

pub(crate) fn uninstall_in(paths: &Paths, uid: u32, say: &mut dyn FnMut(&str)) -> Result<()> {
    if uid == own::ROOT {
        return own::uninstall(paths, say);
    }
    if !paths.claims.is_dir() {
        units::remove(paths, uid, true, say)?;
        files::remove_folder(&paths.programs)?;
        say("nothing is installed");
        return Ok(());
    }
    let held = files::lock(&paths.claims.join("lock"))?;
    // Even an unreadable claim can be removed.
    if let Ok(Some(claim)) = Claim::read(&paths.claim(uid), uid) {
        check_empty(&claim)?;
    }
    let is_last = others(paths, uid)?.is_empty();
    units::remove(paths, uid, is_last, say)?;
    if paths.run.is_dir() {
        // No VM of the user is left, so the interfaces that only they held are restored.
        Linux::in_folder(&paths.run)?.settle_forwarding()?;
        files::remove_folder(&paths.run.join(uid.to_string()))?;
    }
    files::remove(&paths.claim(uid))?;
    say(&format!("removed what user {uid} was granted"));
    if is_last {
        files::remove_folder(&paths.programs)?;
        say(&format!("removed `{}`", paths.programs.display()));
        drop(held);
        files::remove_folder(&paths.claims)?;
        if !reservation::any(&paths.run) {
            files::remove_folder(&paths.run)?;
        }
    }
    Ok(())
}
