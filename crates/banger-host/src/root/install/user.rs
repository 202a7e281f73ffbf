//! The user of an installation.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::command::{Command, PROMPTLY};
use crate::{Error, Kind, Result, real_path};

/// The account of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) name: String,
    pub(super) home: PathBuf,
}

impl User {
    /// Finds the user with this number in the host's account database.
    pub(super) fn find(uid: u32) -> Result<Self> {
        let asked = Command::new("getent")
            .args(["passwd", &uid.to_string()])
            .patience(PROMPTLY);
        let output = asked.output()?;
        Self::read(&output.text(), uid).ok_or_else(|| {
            Error::new(Kind::Missing, format!("there is no user with number {uid}"))
                .hint("list all users: getent passwd")
        })
    }

    /// Parses a line of passwd(5).
    fn read(line: &str, uid: u32) -> Option<Self> {
        let fields: Vec<&str> = line.trim_end().split(':').collect();
        let [name, _, number, _, _, home, _] = fields.as_slice() else {
            return None;
        };
        let found = Self {
            uid: number.parse().ok()?,
            name: (*name).to_owned(),
            home: PathBuf::from(home),
        };
        let plain = !name.is_empty() && !name.chars().any(char::is_control);
        (plain && found.uid == uid && found.home.is_absolute()).then_some(found)
    }

    /// Checks that the state directory is the user's, or can become theirs, and returns its real
    /// path.
    pub(super) fn check_state(&self, state: &Path) -> Result<PathBuf> {
        let shown = state.display();
        let refused = |what: String| {
            Err(Error::new(
                Kind::Denied,
                format!("the state directory `{shown}` {what}"),
            )
            .hint(format!("ls -ld {shown}")))
        };
        let plain = state
            .to_str()
            .is_some_and(|it| !it.chars().any(char::is_control));
        if !state.is_absolute() || !plain {
            return refused("is not an absolute path".to_owned());
        }
        // The instance is a hash of the exact path.
        let state = match real_path(state) {
            Ok(state) => state,
            Err(cause) => return refused(format!("has no real path: {cause}")),
        };
        let there = state
            .ancestors()
            .find_map(|it| Some((it, fs::metadata(it).ok()?)));
        let Some((nearest, meta)) = there else {
            return refused("has no parent directory that exists".to_owned());
        };
        if !meta.is_dir() {
            return refused("is not a directory".to_owned());
        }
        if meta.uid() != self.uid {
            return refused(if nearest == state {
                format!("belongs to user {}, and not to {}", meta.uid(), self.name)
            } else {
                format!(
                    "does not exist, and its parent `{}` does not belong to {}",
                    nearest.display(),
                    self.name
                )
            });
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_is_a_user() {
        let ada = User::read("ada:x:1000:1000:Ada,,,:/home/ada:/bin/bash\n", 1000).unwrap();
        assert_eq!(
            (ada.name.as_str(), ada.home.as_path()),
            ("ada", Path::new("/home/ada"))
        );
        for line in [
            "",
            "ada:x:1000:1000:Ada:/home/ada",
            "ada:x:1001:1000:Ada:/home/ada:/bin/bash",
            ":x:1000:1000:Ada:/home/ada:/bin/bash",
            "ada:x:1000:1000:Ada:home:/bin/bash",
            "a\u{1b}da:x:1000:1000:Ada:/home/ada:/bin/bash",
        ] {
            assert_eq!(User::read(line, 1000), None, "{line:?}");
        }
    }

    #[test]
    fn a_user_is_found_by_number_or_refused() {
        assert_eq!(User::find(0).unwrap().name, "root");
        assert_eq!(User::find(3_999_999_999).unwrap_err().kind(), Kind::Missing);
    }

    #[test]
    fn a_state_directory_is_the_users_or_may_become_hers() {
        let folder = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let user = |uid| User {
            uid,
            name: "ada".to_owned(),
            home: "/home/ada".into(),
        };
        let state = folder.path().join("a/b");
        assert_eq!(user(own).check_state(&state).unwrap(), state);
        std::os::unix::fs::symlink(".", folder.path().join("link")).unwrap();
        for way in ["a/b//", "./a/b", "link/a/b", "link/./a/b"] {
            let way = folder.path().join(way);
            let real = user(own).check_state(&way).unwrap();
            assert_eq!(real.as_os_str(), state.as_os_str(), "{}", way.display());
        }
        for (uid, path) in [
            (own + 1, state.as_path()),
            (own + 1, folder.path()),
            (own, Path::new("relative")),
            (own, &folder.path().join("not/../x")),
            (own, Path::new("/proc/1/nosuch\n")),
        ] {
            assert!(
                user(uid).check_state(path).is_err(),
                "{uid} {}",
                path.display()
            );
        }
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(user(own).check_state(&folder.path().join("file")).is_err());
    }
}
