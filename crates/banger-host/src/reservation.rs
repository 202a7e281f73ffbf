//! Reserves the instances of root's state directories.
//!
//! An instance is 16 bits of a hash, so two state directories may collide, and would confuse each
//! other's TAPs. The claims of ordinary users prevent that for them. Root's daemon reserves its
//! instance here until the next boot, which removes every object that has the instance in its name.
//!
//! ```text
//! /run/banger/instances/<instance>    the path of the state directory that has it
//! ```

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::{Claim, Error, Instance, Kind, Result, root_folder};

/// The folder of root's data that does not survive a reboot.
const RUN: &str = "/run/banger";

/// The folder of reservations below it.
const FOLDER: &str = "instances";

/// Reserves the instance of root's daemon on this state directory, given by its real path.
///
/// # Errors
/// `Busy` if another state directory, of root or of a user, has the instance; others if the
/// reservations cannot be read.
pub fn reserve(state: &Path) -> Result<()> {
    // Ordinary users reach their sockets through this folder, so they must be able to enter it.
    root_folder::make(Path::new(RUN))?;
    let folder = Path::new(RUN).join(FOLDER);
    root_folder::make(&folder)?;
    reserve_in(&folder, &claims()?, state)
}

/// Root's state directory that has reserved this instance below `run`.
pub(crate) fn holder(run: &Path, instance: Instance) -> Result<Option<PathBuf>> {
    holder_in(&run.join(FOLDER), instance)
}

/// Whether a daemon of root's has a reservation below `run`.
pub(crate) fn any(run: &Path) -> bool {
    let mut entries = fs::read_dir(run.join(FOLDER)).into_iter().flatten();
    entries.next().is_some()
}

/// Every readable claim; an unreadable one is reported when its user connects.
fn claims() -> Result<Vec<Claim>> {
    let folder = Path::new(crate::claim::FOLDER);
    let names = match fs::read_dir(folder) {
        Ok(names) => names,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed(folder, &cause)),
    };
    let uids = names.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".json")?.parse::<u32>().ok()
    });
    Ok(uids
        .filter_map(|uid| Claim::of(uid).ok().flatten())
        .collect())
}

fn reserve_in(folder: &Path, claims: &[Claim], state: &Path) -> Result<()> {
    let instance = Instance::new(0, state);
    let taken = |holder: &str| {
        let text = format!(
            "`{}` would have the names of {holder} on this host",
            state.display()
        );
        Error::new(Kind::Busy, text).hint("choose another state directory: banger --state DIR")
    };
    if let Some(claim) = claims.iter().find(|it| it.instance() == instance) {
        return Err(taken(&format!("user {}", claim.user)));
    }
    let lock = File::open(folder).map_err(|cause| failed(folder, &cause))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|cause| failed(folder, &cause.into()))?;
    match holder_in(folder, instance)? {
        Some(other) if other == state => Ok(()),
        Some(other) => Err(taken(&format!("`{}`", other.display()))),
        None => {
            sweep(folder);
            let path = folder.join(instance.digits());
            fs::write(&path, state.as_os_str().as_bytes()).map_err(|cause| failed(&path, &cause))
        }
    }
}

/// A reservation whose state directory is gone is void.
fn holder_in(folder: &Path, instance: Instance) -> Result<Option<PathBuf>> {
    let path = folder.join(instance.digits());
    match fs::read(&path) {
        Ok(text) => {
            Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(text)))
                .filter(|state| state.is_dir()))
        }
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed(&path, &cause)),
    }
}

/// Removes the reservations that are void; one that cannot be removed does no harm.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let holder = fs::read(&path).map(|text| PathBuf::from(std::ffi::OsString::from_vec(text)));
        if holder.is_ok_and(|state| !state.is_dir()) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn failed(path: &Path, cause: &std::io::Error) -> Error {
    Error::new(Kind::Other, cause.to_string())
        .within(format!("reserve the instance in `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two state directories below `folder` whose instances are equal.
    fn colliding(folder: &Path) -> (PathBuf, PathBuf) {
        let mut seen = std::collections::BTreeMap::new();
        for number in 0.. {
            let state = folder.join(number.to_string());
            if let Some(other) = seen.insert(Instance::new(0, &state).digits(), state.clone()) {
                return (other, state);
            }
        }
        unreachable!("there are more directories than instances")
    }

    #[test]
    fn two_state_directories_with_one_instance_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = colliding(folder.path());
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        reserve_in(&run, &[], &first).unwrap();
        reserve_in(&run, &[], &first).unwrap();
        let error = reserve_in(&run, &[], &second).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        let shown = first.display().to_string();
        assert!(error.to_string().contains(&shown), "{error}");
        fs::remove_dir(&first).unwrap();
        reserve_in(&run, &[], &second).unwrap();
    }

    #[test]
    fn an_instance_that_a_user_has_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut claim = Claim {
            uid: 1000,
            user: "ada".to_owned(),
            state: PathBuf::new(),
            subnet: "10.216.0.0/20".parse().unwrap(),
            dns_port: 42070,
        };
        let state = folder.path().join("state");
        let wanted = Instance::new(0, &state);
        let state_of_ada = (0..)
            .map(|number| PathBuf::from(format!("/home/ada/{number}")))
            .find(|path| Instance::new(1000, path) == wanted);
        claim.state = state_of_ada.unwrap();
        let error = reserve_in(folder.path(), &[claim], &state).unwrap_err();
        assert!(error.to_string().contains("user ada"), "{error}");
    }
}
