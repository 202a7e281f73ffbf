//! An ordinary user. On her own she may not create a TAP, and everything except addresses and DNS
//! works; with the root helper, everything works.

use std::process::Command;

use crate::needs_real_vms;
use crate::user_networking;
use crate::world::World;

/// The prefix of the names of all users made for tests, followed by the number of the run's
/// process.
pub(crate) const PREFIX: &str = "banger-test-";

/// A user who is created for the test, and removed after it.
pub(crate) struct User {
    name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    pub(crate) fn make() -> Option<Self> {
        let name = format!("{PREFIX}{}", std::process::id());
        let made = Command::new("useradd")
            .args(["--no-create-home", &name])
            .status();
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
        let number = |option: &str| {
            let output = Command::new("id").args([option, &name]).output().unwrap();
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse()
                .unwrap()
        };
        Some(Self {
            uid: number("-u"),
            gid: number("-g"),
            name,
        })
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.name).status();
    }
}

pub(crate) fn an_ordinary_user_has_vms_on_user_networking() {
    needs_real_vms!();
    let Some(user) = User::make() else {
        eprintln!("SKIPPED: {}: no user can be made here", module_path!());
        return;
    };
    let world = World::new(Some((user.uid, user.gid)));
    if let Some(reason) = world.out_of_reach() {
        eprintln!("SKIPPED: {}: {reason}", module_path!());
        return;
    }
    world.must(&[
        "vm",
        "create",
        "--name",
        "mine",
        "--nat",
        "--memory",
        "512",
        "--disk-size",
        "512M",
    ]);
    let view = world.show("mine");
    assert_eq!(view["network"], "user");
    assert_eq!(view["address"], serde_json::Value::Null);
    assert_eq!(world.sh("mine", "hostname; touch /root/kept"), "mine");
    let pid = view["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(
        status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", user.uid)),
        "{status}"
    );
    let report = world.run(&["doctor"]);
    assert!(report.stdout.contains("TAP"), "{}", report.stdout);
    user_networking::examine(&world);
    world.must(&["vm", "delete", "mine"]);
    world.must(&["daemon", "stop"]);
}
