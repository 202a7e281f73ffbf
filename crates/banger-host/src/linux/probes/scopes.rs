//! Whether a child can have a systemd scope of its own that outlives a logout.

use std::path::Path;

use super::{bad, good, in_one_line};
use crate::command::{Command, PROMPTLY};
use crate::linux::scope::Scopes;
use crate::{Finding, Result};

/// The consequence of doing without.
const WITHOUT: &str = "VMs run in the daemon's cgroup: an out-of-memory kill may hit more than one";

pub(super) fn probe() -> Finding {
    let uid = rustix::process::geteuid().as_raw();
    let scopes = match Scopes::find(uid) {
        Ok(scopes) => scopes,
        Err(error) => {
            let hint = if Path::new("/run/systemd/system").is_dir() {
                "sudo loginctl enable-linger $USER"
            } else {
                "a host with systemd gives each VM a scope of its own"
            };
            return bad(format!("{}; {WITHOUT}", in_one_line(&error)), hint);
        }
    };
    // A user's scopes end with the user's manager, and that ends with the last session.
    if uid != 0 && !lingers(uid) {
        return bad(
            format!("systemd ends this user's units at logout; {WITHOUT}"),
            "sudo loginctl enable-linger $USER",
        );
    }
    match try_one(&scopes) {
        Ok(()) => good("each VM runs in a systemd scope of its own"),
        Err(error) => bad(
            format!("{}; {WITHOUT}", in_one_line(&error)),
            "try it: systemd-run --user --scope true",
        ),
    }
}

/// Whether the user's manager keeps running without a login (linger).
fn lingers(uid: u32) -> bool {
    Command::new("loginctl")
        .arg("show-user")
        .arg(uid.to_string())
        .args(["--property=Linger", "--value"])
        .patience(PROMPTLY)
        .run()
        .is_ok_and(|output| output.text().trim() == "yes")
}

fn try_one(scopes: &Scopes) -> Result<()> {
    let name = format!("banger-probe-{}", std::process::id());
    let wrapped = scopes.wrap(&name, None, Path::new("/bin/true"), &[])?;
    let mut command = Command::new(&wrapped.program)
        .args(&wrapped.arguments)
        .patience(PROMPTLY);
    for (variable, value) in &wrapped.environment {
        command = command.env(variable, value);
    }
    command.run().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::scope::runtime_directory;

    #[test]
    fn without_systemd_it_is_said_what_that_means() {
        if Path::new("/run/systemd/system").is_dir() {
            crate::linux::testing::skipped("systemd runs here");
            return;
        }
        let Finding::Bad { found, .. } = probe() else {
            panic!("{:?}", probe())
        };
        assert!(found.contains("systemd does not run here"), "{found}");
        assert!(found.contains(WITHOUT), "{found}");
    }

    #[test]
    fn the_manager_of_an_unknown_user_has_no_path() {
        assert!(!runtime_directory(65_534).exists());
        assert!(!lingers(65_534));
    }
}
