//! Installs root's side of banger for one user, and uninstalls it.
//!
//! The whole request is checked before anything is changed. Each file is written atomically, so the
//! next run completes an interrupted one:
//!
//! ```text
//! check ─► programs ─► claim ─► units ─► enabled ─► linger
//! ```
//!
//! Root's own daemon needs no helper, and has only the last three: see [`own`].

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
    /// The user's number; 0 is root, whose daemon works directly.
    pub uid: u32,
    /// The state directory, an absolute path; the user's, if it exists.
    pub state: PathBuf,
    /// The network of the user's guests; one that is free otherwise.
    pub subnet: Option<Subnet>,
    /// The port on 127.0.0.1 where names are answered; one that is free otherwise.
    pub dns_port: Option<u16>,
    /// The program `banger`, which stops the user's VMs when the host goes down.
    pub cli: PathBuf,
    /// A Firecracker, to be copied.
    pub firecracker: Option<PathBuf>,
    /// A jailer, to be copied.
    pub jailer: Option<PathBuf>,
}

/// The result of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// What the user was granted; nothing where that is root, who has all of it.
    #[serde(flatten)]
    pub claim: Option<Claim>,
    /// What root runs.
    pub programs: Vec<InstalledProgram>,
}

/// Installs everything. `say` gets a line for each step.
///
/// # Errors
/// When something that was asked for cannot be, before anything is changed; or when a step fails,
/// and then the same call finishes it later.
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

    // A root daemon may have made it first; every user passes through it to their socket.
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

/// Names must be unique to a user, and what has the old names must be gone before there are new
/// ones.
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

/// Rejects where something that root made for the user still exists.
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

/// Removes what [`install`] installed for this user; what all users share goes with the
/// last. Idempotent.
///
/// # Errors
/// When VMs of the user are not stopped, or a step fails.
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
    // An unreadable claim can still be removed.
    if let Ok(Some(claim)) = Claim::read(&paths.claim(uid), uid) {
        check_empty(&claim)?;
    }
    let is_last = others(paths, uid)?.is_empty();
    units::remove(paths, uid, is_last, say)?;
    if paths.run.is_dir() {
        // No VM of the user is left, so what only they held is put back.
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
