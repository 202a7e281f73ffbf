//! systemd scopes: a cgroup and a unit for each program that we start.
//!
//! `systemd-run --scope` asks the manager for a scope, enters it, and then executes the program. So
//! the process keeps its pid, parent, session, directory and descriptors, as without a scope. An
//! OOM kill among its neighbours, or a stop of the daemon's own unit, does not affect it. The scope
//! ends with its last process (`--collect`: even if that failed).
//!
//! | we are | manager | what changes the process's user |
//! |---|---|---|
//! | root | the system's | `setpriv` (util-linux), between `systemd-run` and the program |
//! | a user | the user's own, `systemd-run --user` | nothing |
//!
//! systemd-run's own `--uid` accepts only users with a name, and keeps root's groups. `OOMPolicy=`
//! for scopes came with systemd 253; Debian 12 has 252, and a scope with one process does not need
//! it.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Gid;

use crate::command::find_program;
use crate::{Error, Kind, Owner, Result};

/// A directory that exists if systemd is the system's manager; see sd_booted(3).
pub(crate) const BOOTED: &str = "/run/systemd/system";

/// The maximum number of threads and processes in one scope. A VMM has one thread for each CPU and
/// up to 64 for each disk.
const MOST_TASKS: u32 = 1024;

/// Starts programs in scopes of one manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scopes {
    systemd_run: PathBuf,
    /// The runtime directory of the user whose manager it is; `None` is the system's manager.
    runtime: Option<PathBuf>,
}

/// A program with its arguments, and the variables that its environment needs beside `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScopedCommand {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, PathBuf)>,
    /// The user that the child becomes before it executes the program. With `setpriv` the program
    /// changes its user later.
    pub(super) user: Option<Owner>,
}

/// The runtime directory that logind gives to a user; see pam_systemd(8).
pub(super) fn runtime_directory(uid: u32) -> PathBuf {
    PathBuf::from(format!("/run/user/{uid}"))
}

impl Scopes {
    /// The manager for scopes of this user, if systemd runs and the manager answers.
    ///
    /// # Errors
    /// [`Kind::Missing`], with what is missing.
    pub(super) fn find(uid: u32) -> Result<Self> {
        let missing = |text: String| Err(Error::new(Kind::Missing, text));
        if !Path::new(BOOTED).is_dir() {
            return missing("systemd does not run here".to_owned());
        }
        let Some(systemd_run) = find_program("systemd-run".as_ref()) else {
            return missing("there is no program `systemd-run`".to_owned());
        };
        let runtime = (uid != 0).then(|| runtime_directory(uid));
        let manager = runtime
            .as_deref()
            .unwrap_or(Path::new("/run"))
            .join("systemd/private");
        if let Err(cause) = UnixStream::connect(&manager) {
            return missing(format!(
                "no systemd manager answers on `{}`: {cause}",
                manager.display()
            ));
        }
        Ok(Self {
            systemd_run,
            runtime,
        })
    }

    /// The command that runs the program in the scope `name`, as `user` with only these groups.
    ///
    /// # Errors
    /// [`Kind::Missing`] if it is to run as another user and `setpriv` is missing.
    pub(super) fn wrap(
        &self,
        name: &str,
        user: Option<(Owner, &[Gid])>,
        program: &Path,
        arguments: &[String],
    ) -> Result<ScopedCommand> {
        let mut words: Vec<OsString> = Vec::new();
        if self.runtime.is_some() {
            words.push("--user".into());
        }
        for word in ["--scope", "--quiet", "--collect", "--no-ask-password"] {
            words.push(word.into());
        }
        words.push(format!("--unit={name}.scope").into());
        // By default the whole command line, which names every disk, would appear in each list of
        // units.
        words.push(format!("--description=banger's VM {name}").into());
        words.push(format!("--property=TasksMax={MOST_TASKS}").into());
        if self.runtime.is_none() {
            // The unit that stops root's VMs before a shutdown must stop before their scopes do.
            // For a user, it is ordered against the user's manager as a whole. If the unit is not
            // installed, this has no effect.
            words.push("--property=Before=banger-shutdown@0.service".into());
        }
        words.push("--".into());
        if let Some((owner, groups)) = user {
            let Some(setpriv) = find_program("setpriv".as_ref()) else {
                return Err(Error::new(Kind::Missing, "there is no program `setpriv`")
                    .hint("sudo apt-get install util-linux"));
            };
            words.push(setpriv.into());
            words.extend(become_user(owner, groups));
            words.push("--".into());
        }
        words.push(program.into());
        words.extend(arguments.iter().map(OsString::from));
        Ok(ScopedCommand {
            program: self.systemd_run.clone(),
            arguments: words,
            environment: self
                .runtime
                .iter()
                .map(|it| ("XDG_RUNTIME_DIR", it.clone()))
                .collect(),
            user: None,
        })
    }
}

/// The arguments of setpriv(1) that make a process this user for good.
fn become_user(owner: Owner, groups: &[Gid]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![
        format!("--reuid={}", owner.uid).into(),
        format!("--regid={}", owner.gid).into(),
    ];
    let groups: Vec<String> = groups.iter().map(|it| it.as_raw().to_string()).collect();
    words.push(if groups.is_empty() {
        "--clear-groups".into()
    } else {
        format!("--groups={}", groups.join(",")).into()
    });
    words.push("--no-new-privs".into());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(wrapped: &ScopedCommand) -> String {
        let words: Vec<_> = wrapped
            .arguments
            .iter()
            .map(|it| it.to_str().unwrap())
            .collect();
        format!("{} {}", wrapped.program.display(), words.join(" "))
    }

    #[test]
    fn a_user_s_program_runs_in_a_scope_of_the_user_s_own_manager() {
        let scopes = Scopes {
            systemd_run: "/usr/bin/systemd-run".into(),
            runtime: Some(runtime_directory(1000)),
        };
        let arguments = ["-name".to_owned(), "otter $HOME %n".to_owned()];
        let wrapped = scopes
            .wrap(
                "banger-1-00ff-aa12bb34-3",
                None,
                Path::new("/bin/vmm"),
                &arguments,
            )
            .unwrap();
        assert_eq!(
            text(&wrapped),
            "/usr/bin/systemd-run --user --scope --quiet --collect --no-ask-password \
             --unit=banger-1-00ff-aa12bb34-3.scope --description=banger's VM \
             banger-1-00ff-aa12bb34-3 --property=TasksMax=1024 -- \
             /bin/vmm -name otter $HOME %n"
        );
        assert_eq!(
            wrapped.environment,
            [("XDG_RUNTIME_DIR", PathBuf::from("/run/user/1000"))]
        );
    }

    #[test]
    fn root_s_program_becomes_its_user_after_the_scope_is_made() {
        if find_program("setpriv".as_ref()).is_none() {
            crate::linux::testing::skipped("needs setpriv");
            return;
        }
        let scopes = Scopes {
            systemd_run: "/usr/bin/systemd-run".into(),
            runtime: None,
        };
        let owner = Owner {
            uid: 2_000_001,
            gid: 2_000_001,
        };
        for (groups, word) in [
            (&[][..], "--clear-groups"),
            (&[Gid::from_raw(106)], "--groups=106"),
        ] {
            let wrapped = scopes
                .wrap("it", Some((owner, groups)), Path::new("/bin/vmm"), &[])
                .unwrap();
            let text = text(&wrapped);
            let expected = format!(
                "setpriv --reuid=2000001 --regid=2000001 {word} --no-new-privs -- /bin/vmm"
            );
            assert!(text.ends_with(&expected), "{text}");
            assert!(!text.contains("--user"), "{text}");
            assert_eq!(wrapped.environment, []);
        }
    }

    #[test]
    fn setpriv_accepts_its_arguments() {
        if !crate::linux::testing::is_root() {
            return;
        }
        let owner = Owner {
            uid: 2_000_001,
            gid: 2_000_002,
        };
        let look = "import os;print(os.getresuid(),os.getresgid(),os.getgroups())";
        for (groups, expected) in [(&[][..], "[]"), (&[Gid::from_raw(106)], "[106]")] {
            let output = crate::command::Command::new("setpriv")
                .args(become_user(owner, groups))
                .args(["--", "python3", "-c", look])
                .run();
            let Ok(output) = output else {
                crate::linux::testing::skipped("needs setpriv and python3");
                return;
            };
            let expected =
                format!("(2000001, 2000001, 2000001) (2000002, 2000002, 2000002) {expected}\n");
            assert_eq!(output.text(), expected);
        }
    }
}
