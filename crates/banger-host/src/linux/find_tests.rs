use std::process::{Child, Command};

use super::*;
use crate::linux::children::boot_id;
use crate::linux::testing::is_root;

/// A user id that only these tests use.
const MACHINE: u32 = 1_999_999_001;
const STRANGER: u32 = 1_999_999_002;

/// A program that ends with the test.
struct TestProcess(Child);

impl Drop for TestProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell with this name, user and argument, which waits until it is ended.
fn start(called: &str, uid: u32, argument: &str) -> TestProcess {
    use std::os::unix::process::CommandExt as _;
    #[expect(clippy::disallowed_methods, reason = "it runs as another user")]
    let child = Command::new("/bin/sh")
        .arg0(called)
        .args(["-c", "read never", called, argument])
        .stdin(std::process::Stdio::piped())
        .uid(uid)
        .gid(uid)
        .spawn()
        .unwrap();
    TestProcess(child)
}

fn name(test: &str) -> String {
    format!("banger-test-{}-{test}", std::process::id())
}

fn mark(name: &str) -> Mark {
    Mark {
        name: name.to_owned(),
        user: None,
        alone: true,
        programs: vec!["/usr/libexec/banger-test-vmm".into()],
    }
}

fn found(mark: &Mark) -> Vec<u32> {
    let found = find(mark, 0, &boot_id().unwrap()).unwrap();
    found.into_iter().map(|it| it.pid).collect()
}

#[test]
fn a_foreign_process_with_a_machines_name_is_not_its_own() {
    if !is_root() {
        return;
    }
    let name = name("strangers");
    let program = "/usr/libexec/banger-test-vmm";
    // Another user's process, and a pager of ours that has the name as an argument.
    let _strangers = [
        start("less", STRANGER, &name),
        start(program, STRANGER, &name),
        start("systemd-run", STRANGER, &name),
        start("less", 0, &name),
    ];
    assert!(found(&mark(&name)).is_empty());
    let ours = start(program, 0, &name);
    assert_eq!(found(&mark(&name)), [ours.0.id()]);
    let shorter = mark(&name[..name.len() - 1]);
    assert!(found(&shorter).is_empty(), "an exact argument");
}

#[test]
fn what_runs_as_the_machines_user_is_the_machines_whatever_it_calls_itself() {
    if !is_root() {
        return;
    }
    // A compromised machine program has started others, and changed its name.
    let all = [
        start("vmm", MACHINE, "x"),
        start("sh", MACHINE, "y"),
        start("", MACHINE, &name("hidden")),
    ];
    let pids: Vec<u32> = all.iter().map(|it| it.0.id()).collect();
    let taken_over = Mark {
        user: Some(MACHINE),
        ..mark(&name("another's"))
    };
    let mut now = found(&taken_over);
    now.sort_unstable();
    assert_eq!(now, pids);
    let other = Mark {
        user: Some(MACHINE + 7),
        ..mark(&name("another's"))
    };
    assert!(found(&other).is_empty());
    // A process whose user others share is known by its program and its name.
    let beside = Mark {
        alone: false,
        user: Some(MACHINE),
        ..mark(&name("beside"))
    };
    assert!(found(&beside).is_empty());
    let it = start("/usr/libexec/banger-test-vmm", MACHINE, &name("beside"));
    assert_eq!(found(&beside), [it.0.id()]);
}

#[test]
fn a_program_that_was_replaced_while_it_runs_is_still_that_program() {
    assert_eq!(file_name(Path::new("/usr/bin/vmm (deleted)")), "vmm");
    assert_eq!(file_name(Path::new("/usr/bin/vmm")), "vmm");
    assert_eq!(file_name(Path::new("")), "");
}

#[test]
fn the_machines_of_an_instance_are_found_by_its_prefix() {
    if !is_root() {
        return;
    }
    let instance = Instance::of_digits(0xfeed);
    let programs = ["/usr/libexec/banger-test-vmm".into()];
    let name = format!("{}{:08x}", instance.name_prefix(), std::process::id());
    let user = *instance.users().start();
    let own = start("banger-test-vmm", 0, &name);
    let machines_own = start("banger-test-vmm", user, &name);
    let _strangers = start("banger-test-vmm", STRANGER, &name);
    let _pager = start("less", 0, &name);
    let _other = start("banger-test-vmm", 0, &name.replace("feed", "beef"));
    let found = find_machines(instance, &programs, 0, &boot_id().unwrap()).unwrap();
    let mut found: Vec<u32> = found
        .into_iter()
        .filter(|(it, _)| *it == name)
        .map(|(_, process)| process.pid)
        .collect();
    found.sort_unstable();
    let mut wanted = vec![own.0.id(), machines_own.0.id()];
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}
