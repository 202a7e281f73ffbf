//! The systemd unit that a process runs in, from its cgroup.
//!
//! A unit of a machine is named after the machine, with a number. The name alone proves nothing:
//! every user may give it to a unit of their own manager. What counts is the beginning of the path,
//! which identifies the manager, and which only root or that user can write.
//!
//! ```text
//! /system.slice/banger-1-00ff-aa12bb34-3.scope                    of the system's manager
//! /user.slice/user-1000.slice/user@1000.service/app.slice/…       of user 1000's
//! ```

use std::fs;
use std::time::{Duration, Instant};

use super::children;
use crate::{Error, Kind, Result};

/// How long to wait for the killed processes of a unit to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A manager of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    /// The system's manager.
    System,
    /// The manager of this user.
    User(u32),
}

/// The cgroup tree of systemd, as one process sees it.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// The root of the tree, which in a container may be below another cgroup.
    root: String,
}

impl Tree {
    /// The tree that process 1 is in.
    pub(super) fn find() -> Self {
        let path = cgroup(1).unwrap_or_default();
        let root = path.strip_suffix("/init.scope").unwrap_or(&path);
        Self {
            root: root.trim_end_matches('/').to_owned(),
        }
    }

    /// Whether this process runs in a unit of that name, of one of these managers.
    pub(super) fn has(&self, pid: u32, name: &str, managers: &[Manager]) -> bool {
        cgroup(pid).is_some_and(|path| self.is_unit(&path, name, managers))
    }

    fn is_unit(&self, path: &str, name: &str, managers: &[Manager]) -> bool {
        let Some(path) = path.strip_prefix(&self.root) else {
            return false;
        };
        managers.iter().any(|manager| match manager {
            // Only directly in the slice: a unit below another one is named by the owner of that
            // one.
            Manager::System => path
                .strip_prefix("/system.slice/")
                .and_then(|it| it.split('/').next())
                .is_some_and(|unit| is_of(unit, name)),
            Manager::User(uid) => path
                .strip_prefix(&format!("/user.slice/user-{uid}.slice/user@{uid}.service/"))
                .is_some_and(|it| it.split('/').any(|unit| is_of(unit, name))),
        })
    }
}

/// Whether a unit's name is `<name>-<number>.scope` or `….service`.
fn is_of(unit: &str, name: &str) -> bool {
    let number = unit
        .strip_prefix(name)
        .and_then(|it| it.strip_prefix('-'))
        .and_then(|it| it.strip_suffix(".scope").or(it.strip_suffix(".service")));
    number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The path of a process in systemd's tree: the unified hierarchy, or the named one.
fn cgroup(pid: u32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    path_of(&String::from_utf8_lossy(&text))
}

fn path_of(text: &str) -> Option<String> {
    let mut lines = text.lines();
    let named = lines.find_map(|line| line.split_once(":name=systemd:"));
    let unified = || text.lines().find_map(|line| line.strip_prefix("0::"));
    let path = named.map(|(_, path)| path).or_else(unified);
    path.map(str::to_owned)
}

/// Fails, after some retries, while a process runs in a unit of this name.
pub(crate) fn need_none(name: &str, managers: &[Manager]) -> Result<()> {
    let tree = Tree::find();
    need_nobody(&format!("its unit `{name}-*`"), |pid| {
        tree.has(pid, name, managers)
    })
}

/// Fails, after some retries, while such a process runs.
pub(crate) fn need_nobody(whose: &str, is_one: impl Fn(u32) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let runs = |pid: &u32| children::stat(*pid).is_some_and(|it| !it.ended);
        let Some(pid) = children::all()?.find(|pid| is_one(*pid) && runs(pid)) else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            let text = format!("process {pid} of {whose} still runs");
            return Err(Error::new(Kind::Busy, text).hint(format!("see it: ps -fp {pid}")));
        }
        let pause = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        // Only the parent of a process is told when it ends, and that is not us.
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "banger-1-00ff-aa12bb34";

    fn is_unit(root: &str, path: &str, managers: &[Manager]) -> bool {
        let root = root.to_owned();
        Tree { root }.is_unit(path, NAME, managers)
    }

    #[test]
    fn a_unit_counts_where_only_its_manager_could_have_made_it() {
        let ours = [Manager::System, Manager::User(1000)];
        let user = "/user.slice/user-1000.slice/user@1000.service";
        for (root, path) in [
            ("", format!("/system.slice/{NAME}-3.scope")),
            ("", format!("/system.slice/{NAME}-81234.service")),
            ("", format!("{user}/app.slice/{NAME}-12.scope")),
            (
                "/docker/ab",
                format!("/docker/ab/system.slice/{NAME}-3.scope"),
            ),
        ] {
            assert!(is_unit(root, &path, &ours), "{path}");
        }
        let others = "/user.slice/user-1001.slice/user@1001.service";
        for path in [
            format!("{others}/app.slice/{NAME}-3.scope"),
            format!("{others}{user}/app.slice/{NAME}-3.scope"),
            format!("{others}/system.slice/{NAME}-3.scope"),
            format!("/user.slice/user-1001.slice/session-3.scope/{NAME}-3.scope"),
            format!("/system.slice/docker-ab.scope/{NAME}-3.scope"),
            format!("/system.slice/docker-ab.scope/system.slice/{NAME}-3.scope"),
            format!("/system.slice/{NAME}-.scope"),
            format!("/system.slice/{NAME}-3x.scope"),
            format!("/system.slice/{NAME}0-3.scope"),
            format!("/system.slice/x{NAME}-3.scope"),
            format!("/system.slice/{NAME}-3.slice"),
            format!("/{NAME}-3.scope"),
            "/".to_owned(),
        ] {
            assert!(!is_unit("", &path, &ours), "{path}");
        }
        let path = format!("{user}/app.slice/{NAME}-12.scope");
        assert!(!is_unit("", &path, &[Manager::System, Manager::User(0)]));
    }

    #[test]
    fn the_tree_is_systemds_own_of_several() {
        assert_eq!(path_of("0::/init.scope\n").unwrap(), "/init.scope");
        let mixed = "12:pids:/a\n1:name=systemd:/b\n0::/c\n";
        assert_eq!(path_of(mixed).unwrap(), "/b");
        assert_eq!(path_of("4:name=systemd:/b\n0::/c\n").unwrap(), "/b");
        assert_eq!(path_of("2:cpu:/\n"), None);
    }

    #[test]
    fn what_runs_is_waited_for_and_then_refused() {
        let own = std::process::id();
        let error = need_nobody("it", |pid| pid == own).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(error.to_string().contains(&own.to_string()), "{error}");
        need_nobody("nobody", |_| false).unwrap();
        need_none(NAME, &[Manager::System]).unwrap();
    }
}
