//! Checks that the daemon that answers is the intended one.
//!
//! A socket leads to a daemon with its own state directory, configuration and bundle. If the user
//! named others, the daemon gets no request: a `delete` would affect the VMs of the wrong state
//! directory.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use banger_api::configuration::variable;
use banger_api::{Code, DaemonView, Error, Result};

use crate::paths::Paths;

/// The mode in `DaemonView` of a daemon on a simulated host.
const SIMULATED: &str = "sim";

/// Whether the daemon's VMs are simulated.
pub(crate) fn is_simulated(daemon: &DaemonView) -> bool {
    daemon.mode == SIMULATED
}

/// Rejects a daemon that is not the intended one, for any request.
///
/// # Errors
/// `conflict` if it has another state directory, or real VMs while simulated ones are requested.
pub(crate) fn is_meant(daemon: &DaemonView, places: &Paths) -> Result<()> {
    // Paths and settings of this machine do not apply to another one.
    if places.remote.is_some() {
        return Ok(());
    }
    let wanted = &places.location.state;
    // A socket that the user named leads to its daemon's state directory, whichever that is.
    let is_named = places.options.state.is_some() || places.options.socket.is_none();
    if is_named && !is_same(wanted, Path::new(&daemon.state)) {
        let error = refused(daemon, "state directory", &daemon.state, wanted);
        return Err(if places.options.socket.is_some() {
            error.hint(format!(
                "leave out --socket and BANGER_SOCKET to reach the daemon of `{}`",
                wanted.display()
            ))
        } else {
            error.hint(format!(
                "say which you mean: banger --state {} …",
                daemon.state
            ))
        });
    }
    if places.sim && !is_simulated(daemon) {
        return Err(Error::new(
            Code::Conflict,
            format!("the VMs of `{}` are real, and you asked for simulated ones", daemon.state),
        )
        .hint("omit --sim and BANGER_SIM, or use another state directory: banger daemon start --sim --state ~/trial"));
    }
    Ok(())
}

/// Rejects a daemon that was started with a different configuration or bundle.
///
/// # Errors
/// `conflict`.
pub(crate) fn has_what_is_wanted(daemon: &DaemonView, places: &Paths) -> Result<()> {
    if places.remote.is_some() {
        return Ok(());
    }
    let options = &places.options;
    for (what, has, wanted) in [
        ("configuration", &daemon.config, &options.config),
        ("bundle", &daemon.bundle, &options.bundle),
    ] {
        let Some(wanted) = wanted else { continue };
        // A daemon of another version may not report its paths.
        if !has.is_empty() && !is_same(wanted, Path::new(has)) {
            return Err(refused(daemon, what, has, wanted).hint(format!(
                "omit --{0} and BANGER_{1}, or stop the daemon (its VMs keep running), and the next \
                 command starts it with yours: banger daemon stop",
                if what == "bundle" { what } else { "config" },
                if what == "bundle" {
                    "RUNTIME_DIR"
                } else {
                    "CONFIG"
                },
            )));
        }
    }
    for (key, wanted) in &places.overrides {
        let has = daemon.overrides.get(key);
        if has == Some(wanted) {
            continue;
        }
        let variable = variable(key);
        let text = format!("the running daemon was started with a different {variable}");
        let has = has.map_or_else(|| "it has none".to_owned(), |it| format!("it has `{it}`"));
        return Err(Error::new(Code::Conflict, text)
            .cause(format!("{has}, yours is `{wanted}`"))
            .cause(format!("it answers on `{}`", daemon.socket))
            .hint(format!(
                "unset {variable}, or stop the daemon (its VMs keep running), and the next command \
                 starts it with yours: banger daemon stop"
            )));
    }
    Ok(())
}

fn refused(daemon: &DaemonView, what: &str, has: &str, wanted: &Path) -> Error {
    Error::new(
        Code::Conflict,
        format!("the running daemon uses a different {what}"),
    )
    .cause(format!(
        "it has `{has}`, and you asked for `{}`",
        wanted.display()
    ))
    .cause(format!("it answers on `{}`", daemon.socket))
}

/// Whether two paths lead to the same file, however they are spelled.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| Some((path.metadata().ok()?.dev(), path.metadata().ok()?.ino()));
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        // A file that does not exist yet is identified by its folder and its name.
        _ => resolved(one) == resolved(other),
    }
}

fn resolved(path: &Path) -> PathBuf {
    let within = |path: &Path| {
        let folder = path.parent()?.canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    path.canonicalize()
        .ok()
        .or_else(|| within(path))
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_is_the_same_however_it_is_spelled() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("state");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&place, &link).unwrap();
        let spellings = |below: &str| {
            [
                place.join(below),
                link.join(below),
                folder.path().join("./state/../state").join(below),
            ]
        };
        // A missing folder is identified by its path.
        assert!(is_same(&place, &place));
        assert!(!is_same(&place, folder.path()));
        std::fs::create_dir(&place).unwrap();
        for below in ["", "not-there"] {
            for one in spellings(below) {
                for other in spellings(below) {
                    assert!(
                        is_same(&one, &other),
                        "{} {}",
                        one.display(),
                        other.display()
                    );
                }
            }
        }
        assert!(!is_same(&place.join("one"), &place.join("two")));
        assert!(!is_same(&place.join("one"), &place));
    }
}
