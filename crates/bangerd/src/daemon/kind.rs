//! The kind of a state directory: its VMs are either real or simulated.
//!
//! Simulated VMs end with their daemon. A real daemon in their directory would start with other
//! VMs, and a simulated daemon in a real directory would not show the running VMs, so a directory
//! of the other kind is rejected.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use banger_api::{Code, Error};

use crate::error::Result;
use crate::layout::Layout;

const REAL: &str = "real\n";
const SIMULATED: &str = "simulated\n";

/// Marks the directory as this kind, or rejects it if it is of the other kind. The caller holds the
/// directory's lock.
///
/// # Errors
/// `conflict`, or if the directory cannot be read or written.
pub(super) fn settle(layout: &Layout, simulated: bool) -> Result<()> {
    let path = layout.kind();
    let wanted = if simulated { SIMULATED } else { REAL };
    let map_io_error = |what: &str, cause: std::io::Error| {
        Error::new(Code::Host, format!("{what} `{}`", path.display())).cause(cause.to_string())
    };
    let found = match std::fs::read_to_string(&path) {
        Ok(found) => found,
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            // In directories older than this file, VMs are always real.
            let is_real = layout.vms().exists();
            if is_real && simulated {
                return Err(other_kind(layout.state(), REAL));
            }
            return write(&path, wanted).map_err(|cause| map_io_error("write", cause));
        }
        Err(cause) => return Err(map_io_error("read", cause)),
    };
    match found.as_str() {
        found if found == wanted => Ok(()),
        REAL | SIMULATED => Err(other_kind(layout.state(), &found)),
        _ => Err(Error::new(
            Code::Conflict,
            format!("`{}` says neither `real` nor `simulated`", path.display()),
        )
        .hint("a newer version of banger may have written it; otherwise correct it by hand")),
    }
}

fn other_kind(state: &Path, found: &str) -> Error {
    let state = state.display();
    if found == SIMULATED {
        Error::new(
            Code::Conflict,
            format!("`{state}` is a place of simulated VMs, and this daemon would be a real one"),
        )
        .hint(format!(
            "simulate again: banger daemon start --sim --state {state}"
        ))
        .hint("or choose another state directory for real VMs: banger --state DIR …")
    } else {
        Error::new(
            Code::Conflict,
            format!("the VMs of `{state}` are real, and you asked for simulated ones"),
        )
        .hint("use another state directory: banger daemon start --sim --state ~/trial")
    }
}

/// Writes the kind atomically, because of crashes.
fn write(path: &Path, kind: &str) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = std::fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(kind.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(error: &Error) -> String {
        error.hints.join("\n")
    }

    #[test]
    fn a_directory_keeps_the_kind_of_its_first_daemon() {
        for simulated in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::new(folder.path());
            settle(&layout, simulated).unwrap();
            settle(&layout, simulated).unwrap();
            let error = settle(&layout, !simulated).unwrap_err();
            assert_eq!(error.code, Code::Conflict);
            assert!(hints(&error).contains("--sim --state"), "{error:?}");
            settle(&layout, simulated).unwrap();
        }
    }

    #[test]
    fn a_directory_of_the_time_before_is_real_where_it_has_vms() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        std::fs::create_dir(layout.vms()).unwrap();
        assert!(settle(&layout, true).is_err());
        settle(&layout, false).unwrap();
        assert!(settle(&layout, true).is_err());
    }

    #[test]
    fn a_word_that_is_not_known_is_refused_and_a_write_that_was_cut_off_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        std::fs::write(layout.kind().with_extension("new"), "simu").unwrap();
        settle(&layout, false).unwrap();
        std::fs::write(layout.kind(), "dreamt\n").unwrap();
        for simulated in [true, false] {
            let error = settle(&layout, simulated).unwrap_err();
            assert!(error.message.contains("neither"), "{error:?}");
        }
    }
}
