//! Putting root's side of banger in place for one user, and taking it away again.
//!
//! Nothing is changed before everything that was asked has been looked at. Each file comes into
//! its place whole, so a run that was cut off is finished by the next:
//!
//! ```text
//! look ─► programs ─► claim ─► units ─► enabled ─► linger
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
pub use programs::Installed;
pub use status::{HelperStatus, ProgramStatus, UnitStatus};

use super::need_root;
use crate::{Claim, Error, Instance, Kind, Linux, Look as _, Result, Subnet};
use crate::{reservation, root_folder};
use user::User;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct InstallRequest {
    /// The user's number; 0 is root, whose daemon works directly.
    pub uid: u32,
    /// The state directory, an absolute path; hers, if it is there.
    pub state: PathBuf,
    /// The network of her guests; one that is free otherwise.
    pub subnet: Option<Subnet>,
    /// The port on 127.0.0.1 where names are answered; one that is free otherwise.
    pub dns_port: Option<u16>,
    /// The program `banger`, which stops her VMs when the host goes down.
    pub cli: PathBuf,
    /// A Firecracker, to be copied.
    pub firecracker: Option<PathBuf>,
    /// A jailer, to be copied.
    pub jailer: Option<PathBuf>,
}

/// What is in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// What the user was granted; nothing where that is root, who has all of it.
    #[serde(flatten)]
    pub claim: Option<Claim>,
    /// What root runs.
    pub programs: Vec<Installed>,
}

/// Puts everything in place. `say` is told each step.
///
/// # Errors
/// When something that was asked for cannot be, before anything is changed; or when a step fails,
/// and then the same call finishes it later.
pub fn install(wishes: &InstallRequest, say: &mut dyn FnMut(&str)) -> Result<Installation> {
    need_root()?;
    install_in(&Paths::of_this_host(), wishes, say)
}

pub(crate) fn install_in(
    places: &Paths,
    wishes: &InstallRequest,
    say: &mut dyn FnMut(&str),
) -> Result<Installation> {
    if wishes.uid == own::ROOT {
        own::install(places, wishes, say)?;
        return Ok(Installation {
            claim: None,
            programs: Vec::new(),
        });
    }
    let user = User::find(wishes.uid)?;
    let state = user.check_state(&wishes.state)?;
    let cli = programs::check_cli(&wishes.cli)?;
    let sources = programs::Sources::open(wishes.firecracker.as_deref(), wishes.jailer.as_deref())?;
    root_folder::make(&places.claims)?;
    let _held = files::lock(&places.claims.join("lock"))?;
    let others = others(places, wishes.uid)?;
    let before = Claim::read(&places.claim(wishes.uid), wishes.uid).unwrap_or_default();
    check_instance(places, wishes.uid, &state, before.as_ref(), &others)?;
    let claim = Claim {
        uid: user.uid,
        user: user.name.clone(),
        subnet: network::subnet(wishes, before.as_ref(), &others, &state)?,
        dns_port: network::dns_port(wishes, before.as_ref(), &others)?,
        state,
    };

    // A root daemon may have made it first; every user passes through it to their socket.
    root_folder::make(&places.run)?;
    let programs = sources.put(&places.programs, say)?;
    let text = serde_json::to_string_pretty(&claim)
        .map_err(|cause| Error::new(Kind::Other, cause.to_string()))?;
    files::write(&places.claim(claim.uid), text.as_bytes(), 0o644)?;
    say(&format!(
        "user {} has {} and DNS port {} for `{}`",
        claim.user,
        claim.subnet,
        claim.dns_port,
        claim.state.display()
    ));
    units::put(places, &claim, &user, &cli, say)?;
    Ok(Installation {
        claim: Some(claim),
        programs,
    })
}

/// The claims of all other users.
fn others(places: &Paths, uid: u32) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for name in Linux::new()?.list(&places.claims)? {
        let Some(other) = name.strip_suffix(".json").and_then(|it| it.parse().ok()) else {
            continue;
        };
        if other != uid {
            claims.extend(Claim::read(&places.claims.join(name), other)?);
        }
    }
    Ok(claims)
}

/// Names must tell users apart, and what has the old names must be gone before there are new ones.
fn check_instance(
    places: &Paths,
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
    if let Some(other) = reservation::holder(&places.run, instance)? {
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

/// Refuses where something that root made for the user is still there.
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

/// Takes away what [`install`] put in place for this user; what all users share goes with the
/// last. Twice is once.
///
/// # Errors
/// When VMs of the user are not stopped, or a step fails.
pub fn uninstall(uid: u32, say: &mut dyn FnMut(&str)) -> Result<()> {
    need_root()?;
    uninstall_in(&Paths::of_this_host(), uid, say)
}

pub(crate) fn uninstall_in(places: &Paths, uid: u32, say: &mut dyn FnMut(&str)) -> Result<()> {
    if uid == own::ROOT {
        return own::uninstall(places, say);
    }
    if !places.claims.is_dir() {
        units::remove(places, uid, true, say)?;
        files::remove_folder(&places.programs)?;
        say("nothing is installed");
        return Ok(());
    }
    let held = files::lock(&places.claims.join("lock"))?;
    // One that cannot be read keeps nobody from taking it away.
    if let Ok(Some(claim)) = Claim::read(&places.claim(uid), uid) {
        check_empty(&claim)?;
    }
    let is_last = others(places, uid)?.is_empty();
    units::remove(places, uid, is_last, say)?;
    if places.run.is_dir() {
        // No VM of the user is left, so what only they held is put back.
        Linux::in_folder(&places.run)?.settle_forwarding()?;
        files::remove_folder(&places.run.join(uid.to_string()))?;
    }
    files::remove(&places.claim(uid))?;
    say(&format!("user {uid} is granted nothing any more"));
    if is_last {
        files::remove_folder(&places.programs)?;
        say(&format!("removed `{}`", places.programs.display()));
        drop(held);
        files::remove_folder(&places.claims)?;
        if !reservation::any(&places.run) {
            files::remove_folder(&places.run)?;
        }
    }
    Ok(())
}
