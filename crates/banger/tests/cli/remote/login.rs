//! Logins to VMs of another machine. A second sshd stands in for the guest's.

use std::process::{Child, Command};

use super::machines::{TwoMachines, free_port, machines, run, start_sshd, user};
use crate::environment::{Run, program};
use crate::fake_daemon;
use crate::sshd::TestSshd;

/// A machine whose daemon reports the VM `web`, and an sshd in place of the guest's.
struct WithGuest {
    two: TwoMachines,
    guest: Child,
}

impl Drop for WithGuest {
    fn drop(&mut self) {
        let _ = self.guest.kill();
        let _ = self.guest.wait();
    }
}

/// `host_key` is the one that the daemon reports, if it is not the guest's own.
fn with_guest(host_key: Option<&str>) -> Option<WithGuest> {
    let sshd = TestSshd::find()?;
    let two = machines("", "")?;
    let server = &two.server;
    let path = server.path("guest_key");
    let path = path.to_str().unwrap();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path]);
    let port = free_port();
    let keys = server.path("guest_keys");
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {path}\nAuthorizedKeysFile {}\n\
         StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nLogLevel ERROR\n{}",
        keys.display(),
        sshd.lines()
    );
    std::fs::write(server.path("guest_config"), config).unwrap();
    std::fs::write(&keys, "").unwrap();
    let guest = start_sshd(&sshd, &server.path("guest_config"), port);
    let public = std::fs::read_to_string(format!("{path}.pub")).unwrap();
    let mut web = fake_daemon::web(server);
    web["ssh"]["host"] = "127.0.0.1".into();
    web["ssh"]["port"] = port.into();
    web["ssh"]["user"] = user().into();
    web["ssh"]["host_key"] = host_key.unwrap_or(&public[..public.len() - 1]).into();
    let host_key = web["ssh"]["host_key"].as_str().unwrap();
    let words: Vec<&str> = host_key.split(' ').take(2).collect();
    web["ssh"]["host_key"] = words.join(" ").into();
    fake_daemon::listen(server, fake_daemon::daemon(server), web);
    // banger there has no key of its own for this guest.
    let line = format!(
        "case \"$*\" in *'vm authorize web'*) exec cat >> {} ;; esac\nexec {} \"$@\"",
        keys.display(),
        program().display()
    );
    server.script("banger", &line);
    Some(WithGuest { two, guest })
}

#[test]
fn a_shell_in_a_vm_of_another_machine_has_this_machines_key_and_the_vms_pinned_host_key() {
    let Some(with) = with_guest(None) else { return };
    let two = &with.two;
    let ssh = ["--host", "lab", "vm", "ssh", "web", "--"];
    let run = two.done(&[&ssh[..], &["printf", "<%s>", "it's", "a b"]].concat());
    assert_eq!(run.stdout, "<it's><a b>");
    let run = two.run(&[&ssh[..], &["sh", "-c", "exit 7"]].concat());
    assert_eq!(run.status, 7, "{run:#?}");
    let keys = std::fs::read_to_string(two.server.path("guest_keys")).unwrap();
    assert_eq!(keys.lines().count(), 1, "it is let in once: {keys}");
    let own = two.client.path("home/.config/banger/hosts/id_ed25519.pub");
    assert_eq!(keys, std::fs::read_to_string(own).unwrap());
}

#[test]
fn a_vm_with_another_host_key_than_its_daemon_says_is_refused() {
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEqbMbS4n4Yx1vpsYwDjEZUkRGWSXlVnpWvIYkPKfnmn";
    let Some(with) = with_guest(Some(other)) else {
        return;
    };
    let run = with
        .two
        .run(&["--host", "lab", "vm", "ssh", "web", "--", "true"]);
    assert_eq!((run.status, run.stdout.as_str()), (255, ""), "{run:#?}");
    assert!(
        run.stderr.contains("Host key verification failed"),
        "{run:#?}"
    );
}

#[test]
fn an_ssh_of_the_users_own_reaches_every_vm_of_a_named_host() {
    let Some(with) = with_guest(None) else { return };
    let two = &with.two;
    let error = two.refused(&["--host", "lab", "ssh-config"]);
    assert!(error.contains("banger host add NAME lab"), "{error}");
    two.done(&["host", "add", "lab", "lab"]);
    let run = two.done(&["--host", "lab", "ssh-config", "--install"]);
    assert!(run.stdout.contains("try it: ssh NAME.lab"), "{run:#?}");
    let config = two.client.path("home/.ssh/config");
    let mut ssh = Command::new("/usr/bin/ssh");
    ssh.arg("-F")
        .arg(&config)
        .args(["-l", &user(), "web.lab", "echo", "reached"]);
    let like = two.command(&[]);
    ssh.env_clear();
    ssh.envs(
        like.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let run = Run::of(ssh.output().unwrap());
    assert_eq!(
        (run.status, run.stdout.as_str()),
        (0, "reached\n"),
        "{run:#?}"
    );
    two.done(&["--host", "lab", "ssh-config", "--remove"]);
    assert!(!config.exists());
}
