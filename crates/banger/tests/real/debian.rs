//! The guest is the Debian that a developer expects. One guest serves all of these tests, and each
//! undoes changes that would affect the others.

use std::process::Command;
use std::time::Duration;

use crate::world::{Shared, World, shared, wait_for};
use crate::{needs_long_tests, needs_real_vms};

/// How long an expected change may take in a guest without KVM.
const SOON: Duration = Duration::from_secs(60);

/// The guest of these tests.
fn debian() -> (Shared, &'static str) {
    let world = shared();
    world.running("debian", &["--memory", "768", "--disk-size", "512M"]);
    (world, "debian")
}

/// The output of a login as this user with their own ssh and this environment: that of the command,
/// and everything else.
fn login(
    world: &World,
    vm: &str,
    user: &str,
    environment: &[(&str, &str)],
    command: &str,
) -> [String; 2] {
    let view = world.show(vm);
    let way = &view["ssh"];
    let text = |key: &str| way[key].as_str().unwrap().to_owned();
    let mut ssh = Command::new("ssh");
    ssh.args([
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "SendEnv=LANG LC_*",
    ])
    .args(["-o", "IdentitiesOnly=yes", "-i", &text("key")])
    .args(["-o", &format!("UserKnownHostsFile={}", text("known_hosts"))])
    .args(["-o", &format!("HostKeyAlias={}", text("host_key_alias"))])
    .args([
        "-p",
        &way["port"].to_string(),
        "-l",
        user,
        &text("host"),
        command,
    ]);
    for name in ["LANG", "LC_ALL", "LC_CTYPE", "LANGUAGE"] {
        ssh.env_remove(name);
    }
    let output = ssh.envs(environment.iter().copied()).output().unwrap();
    let printed = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (stdout, stderr) = (printed(&output.stdout), printed(&output.stderr));
    assert!(
        output.status.success(),
        "{user}: {command}: {stdout}\n{stderr}"
    );
    [stdout, stderr]
}

/// Updates the guest's package lists, once.
fn update(world: &World, vm: &str) {
    world.sh(
        vm,
        "[ -n \"$(find /var/lib/apt/lists -name '*Packages*')\" ] || timeout 300 apt-get -qq \
         -o Acquire::Retries=2 -o Acquire::http::Timeout=30 update",
    );
}

fn apt(world: &World, vm: &str, what: &str) {
    world.sh(
        vm,
        &format!("DEBIAN_FRONTEND=noninteractive apt-get -qqy {what} > /dev/null 2>&1"),
    );
}

pub(crate) fn a_login_in_the_first_second_has_its_session_and_sees_no_notice() {
    needs_real_vms!();
    let (world, vm) = debian();
    world.sh(
        vm,
        "id -u ada > /dev/null 2>&1 || useradd --create-home --shell /bin/bash ada",
    );
    let asks = "echo $XDG_RUNTIME_DIR; systemctl --user is-system-running --wait; \
                loginctl --no-legend list-sessions | grep -c \" $(id -un) .* user \"";
    for user in ["ada", "root"] {
        world.must(&["vm", "restart", vm]);
        let [seen, said] = login(&world, vm, user, &[], asks);
        let uid = world.sh(vm, &format!("id -u {user}"));
        assert_eq!(
            seen,
            format!("/run/user/{uid}\nrunning\n1"),
            "{user}: {said}"
        );
        assert_eq!(said, "", "{user}");
    }
}

pub(crate) fn services_of_a_user_who_lingers_run_without_a_login() {
    needs_real_vms!();
    let (world, vm) = debian();
    world.sh(
        vm,
        "id -u eve > /dev/null 2>&1 || useradd --create-home eve; loginctl enable-linger eve",
    );
    wait_for(SOON, || {
        let run = world.run(&[
            "vm",
            "ssh",
            vm,
            "--",
            "sh",
            "-c",
            "ls -d /run/user/$(id -u eve)/bus",
        ]);
        if run.status == 0 {
            Ok(())
        } else {
            Err(run.stderr)
        }
    });
    assert_eq!(
        world.sh(vm, "loginctl show-user root --property=Linger --value"),
        "yes"
    );
}

pub(crate) fn what_documents_name_is_there() {
    needs_real_vms!();
    let (world, vm) = debian();
    world.sh(
        vm,
        "command -v rsync python3 htop scp sftp tput tmux git curl sudo; \
         test -x /usr/lib/openssh/sftp-server; python3 -c 'import json, ssl, zipfile, sqlite3'",
    );
}

pub(crate) fn the_full_name_ends_in_vm() {
    needs_real_vms!();
    let (world, vm) = debian();
    let names = world.sh(
        vm,
        "hostname -f; hostname -d; hostname; getent hosts debian | wc -l",
    );
    assert_eq!(names, "debian.vm\nvm\ndebian\n1");
}

pub(crate) fn terminals_of_today_are_known() {
    needs_real_vms!();
    let (world, vm) = debian();
    let terminals = "xterm-256color xterm-kitty xterm-ghostty ghostty alacritty foot foot-extra \
                     wezterm contour rio xterm-rio st-256color tmux-256color screen-256color \
                     konsole-256color vte-256color rxvt-unicode-256color";
    world.sh(
        vm,
        &format!("for name in {terminals}; do TERM=$name tput colors > /dev/null; done"),
    );
    // A login from an unknown terminal gets a terminal type that works.
    let term = world.sh(
        vm,
        "TERM=from-tomorrow bash -lc 'tput colors > /dev/null; echo $TERM'",
    );
    assert_eq!(term, "xterm-256color");
    let term = world.sh(vm, "TERM=foot bash -lc 'echo $TERM'");
    assert_eq!(term, "foot");
}

pub(crate) fn no_locale_of_the_host_makes_a_program_complain() {
    needs_real_vms!();
    let (world, vm) = debian();
    for environment in [
        [("LANG", "de_DE.UTF-8"), ("LC_ALL", "de_DE.UTF-8")],
        [("LANG", "en_US.UTF-8"), ("LC_CTYPE", "UTF-8")],
        [("LANG", "xx_YY"), ("LC_TIME", "ja_JP.eucJP")],
    ] {
        let seen = login(
            &world,
            vm,
            "root",
            &environment,
            "perl -e 1; locale charmap",
        );
        assert_eq!(seen, ["UTF-8", ""], "{environment:?}");
    }
}

pub(crate) fn a_guest_cannot_be_put_to_sleep() {
    needs_real_vms!();
    let (world, vm) = debian();
    for way in [
        "systemctl suspend",
        "systemctl hibernate",
        "echo mem > /sys/power/state",
        "echo freeze > /sys/power/state",
    ] {
        let run = world.run(&["vm", "ssh", vm, "--", "sh", "-c", way]);
        assert_ne!(run.status, 0, "{way}");
        assert!(
            run.stderr.contains("disabled by config") || run.stderr.contains("Read-only"),
            "{way}: {}",
            run.stderr
        );
    }
    assert_eq!(world.sh(vm, "echo awake"), "awake");
}

pub(crate) fn nothing_is_masked_that_a_package_brings() {
    needs_real_vms!();
    let (world, vm) = debian();
    // The mask of a missing unit applies to a later installation.
    let orphans = world.sh(
        vm,
        "for mask in $(find /etc/systemd/system -maxdepth 1 -lname /dev/null -printf '%f\\n'); do \
           unit=/usr/lib/systemd/system/$(printf %s $mask | sed 's/@[^.]*\\./@./'); \
           [ -e $unit ] || echo $mask; done; \
         find /etc/systemd/system -maxdepth 1 -name '*.timer' -lname /dev/null",
    );
    assert_eq!(orphans, "");
    assert_eq!(
        world.sh(
            vm,
            "systemctl is-enabled fstrim.timer apt-daily.timer | sort -u"
        ),
        "enabled"
    );
    update(&world, vm);
    apt(&world, vm, "install logrotate");
    let state = world.sh(
        vm,
        "systemctl is-enabled logrotate.timer; systemctl is-active logrotate.timer",
    );
    assert_eq!(state, "enabled\nactive");
}

pub(crate) fn a_tunnels_resolvers_stay_until_it_goes() {
    needs_long_tests!();
    let (world, vm) = debian();
    let ours = world.sh(vm, "cat /etc/resolv.conf");
    assert!(ours.starts_with("# Written by banger"), "{ours}");
    update(&world, vm);
    apt(&world, vm, "install openresolv");
    world.sh(vm, "echo nameserver 192.0.2.53 | resolvconf -a wg0");
    let theirs = world.sh(vm, "cat /etc/resolv.conf");
    assert!(theirs.contains("nameserver 192.0.2.53"), "{theirs}");
    // The next daemon sends the guest its resolvers again.
    world.must(&["daemon", "stop"]);
    world.must(&["vm", "list"]);
    wait_for(SOON, || {
        let output = world.sh(
            vm,
            "stat -c %Y /run/banger/upstream-resolv.conf; pidof banger-guest",
        );
        if output.is_empty() {
            Err(output)
        } else {
            Ok(())
        }
    });
    assert_eq!(world.sh(vm, "cat /etc/resolv.conf"), theirs);
    // openresolv's copy may be older than the host's current resolvers.
    world.sh(
        vm,
        "printf '# Written by banger\\nnameserver 192.0.2.99\\n' > /etc/resolv.conf.bak; resolvconf -d wg0",
    );
    wait_for(SOON, || {
        let now = world.sh(vm, "cat /etc/resolv.conf");
        if now == ours { Ok(()) } else { Err(now) }
    });
    apt(&world, vm, "purge openresolv");
}

pub(crate) fn names_resolve_with_systemd_resolved_and_without_it_again() {
    needs_long_tests!();
    let (world, vm) = debian();
    let resolves = "getent hosts $(sed -n 's|^deb .*//\\([^/ ]*\\)/.*|\\1|p' /etc/apt/sources.list | head -n 1)";
    let wait_until_it_resolves = || {
        wait_for(SOON, || {
            let run = world.run(&["vm", "ssh", vm, "--", "sh", "-c", resolves]);
            if run.status == 0 {
                Ok(())
            } else {
                Err(run.stdout + &run.stderr)
            }
        });
    };
    update(&world, vm);
    apt(&world, vm, "install systemd-resolved");
    assert!(
        world
            .sh(vm, "readlink /etc/resolv.conf")
            .contains("systemd/resolve")
    );
    wait_until_it_resolves();
    world.must(&["vm", "restart", vm]);
    wait_until_it_resolves();
    assert_eq!(
        world.sh(vm, "systemctl is-active systemd-resolved"),
        "active"
    );
    // With a link to a file that will never exist, names must still resolve.
    world.sh(
        vm,
        "DEBIAN_FRONTEND=noninteractive apt-get -qqy purge systemd-resolved > /dev/null 2>&1; \
         ln -sfn ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf",
    );
    world.must(&["vm", "restart", vm]);
    wait_until_it_resolves();
    assert_eq!(
        world.sh(vm, "readlink /etc/resolv.conf"),
        "/run/banger/resolv.conf"
    );
}

pub(crate) fn a_missing_disk_in_fstab_does_not_prevent_logins() {
    needs_long_tests!();
    let (world, vm) = debian();
    world.sh(
        vm,
        "echo 'UUID=00000000-0000-0000-0000-000000000000 /data ext4 defaults 0 2' >> /etc/fstab",
    );
    world.must(&["vm", "restart", vm]);
    // systemd waits 90 seconds for the disk; a login does not.
    let waits = "systemctl is-active data.mount || :; sed -i '/data/d' /etc/fstab";
    assert_eq!(
        world.sh(vm, &format!("{waits}; echo $XDG_RUNTIME_DIR")),
        "inactive\n/run/user/0"
    );
    world.must(&["vm", "restart", vm]);
}

pub(crate) fn installing_a_kernel_prints_which_one_boots() {
    needs_long_tests!();
    let (world, vm) = debian();
    let said = world.sh(
        vm,
        "run-parts --arg=6.99-test /etc/kernel/postinst.d 2>&1 | grep banger:",
    );
    let running = world.sh(vm, "uname -r");
    assert!(
        said.contains(&running) && said.contains("6.99-test"),
        "{said}"
    );
}

pub(crate) fn the_least_memory_is_enough_and_a_tiny_disk_becomes_large() {
    needs_long_tests!();
    let world = shared();
    let least = world.json(&[
        "vm",
        "create",
        "--no-start",
        "--name",
        "tiny",
        "--nat",
        "--memory",
        "192M",
        "--disk-size",
        "64M",
    ]);
    assert_eq!(least["phase"], "stopped", "{least}");
    world.must(&["vm", "start", "tiny"]);
    update(&world, "tiny");
    world.sh("tiny", "echo keep > /root/kept; sync");
    world.must(&["vm", "set", "tiny", "--disk-size", "100G"]);
    world.must(&["vm", "restart", "tiny"]);
    let grown = world.sh(
        "tiny",
        "cat /root/kept; dd if=/dev/zero of=/root/zeros bs=1M count=100 conv=fsync status=none; \
         df --output=size -BG /root | tail -n 1 | tr -d ' G'; rm /root/zeros; fstrim /root",
    );
    let (kept, gib) = grown.split_once('\n').unwrap();
    assert_eq!(kept, "keep");
    assert!(gib.parse::<u32>().unwrap() >= 97, "{gib} GiB");
    let view = world.show("tiny");
    assert_eq!(view["notes"], serde_json::json!([]), "{view}");
    world.must(&["vm", "delete", "--force", "tiny"]);
}
