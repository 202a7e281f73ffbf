//! Permits for logins: a few at a time for each VM.
//!
//! A login is the one expensive part of a session. Fifty of them at once share the CPU of a small
//! guest: none finishes for minutes, and each would time out. So only a few run at a time, and the
//! others wait here, where it is known that the VM is running.
//!
//! A permit is a file that names the process that holds it. That process becomes ssh, which removes
//! the file once it is logged in (`LocalCommand`). A file whose process is gone, or that is old,
//! counts as released. If no file can be made, the login proceeds without one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

use crate::failure::Failure;
use crate::quote;

/// The number of simultaneous logins.
const AT_A_TIME: u32 = 4;
/// The longest time that a permit is held: a login that takes longer lets the next one in, and one
/// with the user's own `LocalCommand` never releases it.
const LONGEST: Duration = Duration::from_secs(30);
/// The interval at which a waiting login checks its VM.
const LOOK: Duration = Duration::from_secs(5);

/// A permit to log in.
#[derive(Debug)]
pub(super) struct LoginPermit(Option<PathBuf>);

impl LoginPermit {
    /// Waits for a permit for the VM `id`; the files are in `folder`.
    ///
    /// # Errors
    /// The error of `look` for a VM that is not running any more.
    pub(super) fn take(
        folder: &Path,
        id: &str,
        mut look: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        if fs::create_dir_all(folder).is_err() {
            return Ok(Self(None));
        }
        let mut looked = Instant::now();
        loop {
            for number in 0..AT_A_TIME {
                let place = folder.join(format!("{id}.{number}"));
                match occupy(&place) {
                    Ok(true) => return Ok(Self(Some(place))),
                    Ok(false) => {}
                    Err(_) => return Ok(Self(None)),
                }
            }
            if looked.elapsed() > LOOK {
                look()?;
                looked = Instant::now();
            }
            pause();
        }
    }

    /// The ssh options that release the permit after login.
    pub(super) fn options(&self) -> Vec<OsString> {
        let Some(place) = &self.0 else {
            return Vec::new();
        };
        let words = [OsStr::new("rm"), OsStr::new("-f"), place.as_os_str()].map(OsString::from);
        let line = quote::command_line(&words).into_string();
        // Permits in a folder whose path is not UTF-8 are released by the timeout only.
        let Ok(line) = line else {
            return Vec::new();
        };
        let line = line.replace('%', "%%");
        vec![
            "-o".into(),
            "PermitLocalCommand=yes".into(),
            "-o".into(),
            format!("LocalCommand={line}").into(),
        ]
    }
}

/// Tries to take a permit.
///
/// Two processes that find the same released permit may both take it: one login too many does no
/// harm.
fn occupy(place: &Path) -> std::io::Result<bool> {
    match File::options().write(true).create_new(true).open(place) {
        Ok(mut file) => {
            write!(file, "{}", std::process::id())?;
            Ok(true)
        }
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
            if is_given_back(place) {
                let _ = fs::remove_file(place);
            }
            Ok(false)
        }
        Err(cause) => Err(cause),
    }
}

fn is_given_back(place: &Path) -> bool {
    let Ok(found) = fs::metadata(place) else {
        return true;
    };
    let age = found.modified().ok().and_then(|it| it.elapsed().ok());
    if age.is_none_or(|age| age > LONGEST) {
        return true;
    }
    // A permit that is just being written has no number yet.
    let text = fs::read_to_string(place).unwrap_or_default();
    let process = text.parse().ok().and_then(Pid::from_raw);
    process.is_some_and(|it| test_kill_process(it) == Err(rustix::io::Errno::SRCH))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file that goes away gives nothing to wait on"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

#[cfg(test)]
mod tests {
    use banger_api::{Code, Error};

    use super::*;

    fn taken(folder: &Path) -> LoginPermit {
        LoginPermit::take(folder, "00ab12cd", || panic!("there is room")).unwrap()
    }

    #[test]
    fn a_few_log_in_at_a_time_and_the_next_when_one_has() {
        let folder = tempfile::tempdir().unwrap();
        let turns: Vec<_> = (0..AT_A_TIME).map(|_| taken(folder.path())).collect();
        let gone = || Err(Error::new(Code::NotReady, "it is stopped").into());
        let refused = LoginPermit::take(folder.path(), "00ab12cd", gone).unwrap_err();
        assert!(matches!(refused, Failure::Error(_)), "{refused:?}");
        // Another VM has permits of its own.
        LoginPermit::take(folder.path(), "00ab12ce", || panic!("there is room")).unwrap();
        fs::remove_file(turns[1].0.as_ref().unwrap()).unwrap();
        taken(folder.path());
    }

    #[test]
    fn a_turn_whose_process_is_gone_or_that_is_old_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let places: Vec<_> = (0..AT_A_TIME)
            .map(|_| taken(folder.path()).0.unwrap())
            .collect();
        // No process has such a large number.
        fs::write(&places[0], i32::MAX.to_string()).unwrap();
        let old = std::time::SystemTime::now() - 2 * LONGEST;
        let file = File::options().write(true).open(&places[2]).unwrap();
        file.set_modified(old).unwrap();
        let mut again = [taken(folder.path()), taken(folder.path())].map(|it| it.0.unwrap());
        again.sort();
        assert_eq!(again, [places[0].clone(), places[2].clone()]);
    }

    #[test]
    fn without_a_place_for_files_the_login_goes_ahead() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(taken(&file.join("below")).options().is_empty());
    }

    #[test]
    fn ssh_removes_the_file_whatever_it_is_called() {
        let turn = LoginPermit(Some("/run/it's 50%/a.0".into()));
        let options = turn.options();
        assert_eq!(
            options[3],
            r"LocalCommand='rm' '-f' '/run/it'\''s 50%%/a.0'"
        );
    }
}
