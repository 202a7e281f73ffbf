//! The user of `banger system`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};

use crate::paths::Paths;
use crate::programs::{self, Interaction, ProgramOutput};
use crate::session::Session;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) home: PathBuf,
    /// Whether root runs the command for this user.
    pub(super) by_root: bool,
}

impl Account {
    /// The user of this process; for root, the named user, the one who typed `sudo`, or root.
    ///
    /// # Errors
    /// `invalid` if an ordinary user names another user; `not-found` if there is no such user.
    pub(super) fn find(named: Option<&str>, places: &Paths) -> Result<Self> {
        let own = rustix::process::getuid().as_raw();
        let wanted = match (named, own) {
            (Some(name), _) => name.to_owned(),
            (None, 0) => places.sudo_uid.clone().unwrap_or_else(|| "0".to_owned()),
            (None, own) => own.to_string(),
        };
        let account = look_up(&wanted, places)?;
        // Root would write into another home, and root's manager would not see that.
        if (account.uid, own) == (0, 0) && places.home.as_deref() != Some(&*account.home) {
            let text = format!("HOME is not root's home, `{}`", account.home.display());
            return Err(Error::new(Code::Invalid, text)
                .hint("with a HOME of root's: sudo -H, and --user root"));
        }
        match (account.uid, own) {
            (uid, own) if own != 0 && uid != own => Err(Error::new(
                Code::Invalid,
                format!("only root can do this for another user, `{}`", account.name),
            )
            .hint(format!(
                "sudo banger system install --user {}",
                account.name
            ))),
            (uid, own) => Ok(Self {
                by_root: own == 0 && uid != 0,
                ..account
            }),
        }
    }

    /// Whether the user is root, whose daemon needs no helper.
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The user's default state directory.
    pub(super) fn state(&self, places: &Paths) -> PathBuf {
        match (&places.options.state, self.by_root) {
            (Some(state), _) => state.clone(),
            (None, true) => self.home.join(".local/state/banger"),
            (None, false) => places.location.state.clone(),
        }
    }

    /// Runs this program as this user, in that user's environment.
    ///
    /// # Errors
    /// `runuser` is missing, or the program fails.
    pub(super) fn run_as_user(&self, words: &[&str], session: &Session) -> Result<ProgramOutput> {
        let search = session.places.search.as_deref();
        let (Some(runuser), Some(env)) = (
            programs::find(search, "runuser"),
            programs::find(search, "env"),
        ) else {
            return Err(Error::new(Code::NotReady, "there is no program `runuser`")
                .hint("sudo apt-get install util-linux"));
        };
        let mut arguments: Vec<OsString> =
            vec!["-u".into(), (&self.name).into(), "--".into(), env.into()];
        arguments.push("-i".into());
        for (variable, value) in [
            ("HOME", self.home.display().to_string()),
            ("USER", self.name.clone()),
            ("LOGNAME", self.name.clone()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("XDG_RUNTIME_DIR", format!("/run/user/{}", self.uid)),
        ] {
            arguments.push(format!("{variable}={value}").into());
        }
        arguments.push(own_program()?.into());
        arguments.extend(words.iter().map(OsString::from));
        let ended = programs::run(&runuser, &arguments, &[], Interaction::Interactive)?;
        if ended.done {
            return Ok(ended);
        }
        Err(Error::new(
            Code::Host,
            format!("the part that runs as `{}` failed", self.name),
        ))
    }
}

/// The absolute path of this program.
///
/// # Errors
/// `/proc` is not available.
pub(super) fn own_program() -> Result<PathBuf> {
    std::env::current_exe()
        .map_err(|cause| Error::new(Code::Host, "find this program").cause(cause.to_string()))
}

/// A line of getent(1): `name:password:uid:gid:comment:home:shell`.
fn look_up(wanted: &str, places: &Paths) -> Result<Account> {
    let unknown = || Error::new(Code::NotFound, format!("there is no user `{wanted}`"));
    let getent = programs::find(places.search.as_deref(), "getent")
        .ok_or_else(|| Error::new(Code::NotReady, "there is no program `getent`"))?;
    let arguments = ["passwd".into(), "--".into(), wanted.into()];
    let ended = programs::run(&getent, &arguments, &[], Interaction::Silent)?;
    read_line(&ended.stdout).ok_or_else(unknown)
}

fn read_line(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.lines().next()?.split(':').collect();
    let home = Path::new(fields.get(5)?);
    Some(Account {
        name: (*fields.first()?).to_owned(),
        uid: fields.get(2)?.parse().ok()?,
        home: home.is_absolute().then(|| home.to_owned())?,
        by_root: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_from_the_user_data_base() {
        let ada = read_line("ada:x:1000:1000:Ada,,,:/home/ada:/bin/bash\n").unwrap();
        assert_eq!((ada.name.as_str(), ada.uid), ("ada", 1000));
        assert_eq!(ada.home, Path::new("/home/ada"));
        for broken in ["", "ada", "ada:x:many:1::/home/ada:", "ada:x:1:1::home:"] {
            assert_eq!(read_line(broken), None, "{broken}");
        }
    }
}
