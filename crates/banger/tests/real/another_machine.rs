//! A real guest of "another machine", which is this one, through an sshd on loopback.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::needs_real_vms;
use crate::sshd::TestSshd;
use crate::world::{World, host, shared, wait_for};

/// An sshd that accepts one key, and a client's files.
struct Sshd {
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // ssh finds the master by the path of its socket; the configuration is the client's.
        let config = self.folder.path().join("config");
        let control = format!("{}/run/banger/hosts/", self.folder.path().display());
        for entry in std::fs::read_dir(&control).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(".ctl") {
                let path = entry.path();
                let words = ["-F", config.to_str().unwrap(), "-O", "exit", "-S"];
                host(
                    "ssh",
                    &[&words[..], &[path.to_str().unwrap(), "lab"]].concat(),
                );
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the sshd of "another machine".
fn start(sshd: &TestSshd, world: &World) -> Sshd {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    for key in ["host_key", "user_key"] {
        let file = path(key);
        host(
            "ssh-keygen",
            &[
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-f",
                file.to_str().unwrap(),
            ],
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let place = folder.path().display();
    let programs = Path::new(env!("CARGO_BIN_EXE_banger"))
        .parent()
        .unwrap()
        .display();
    let environment = world.command(&[]);
    let environment = environment.get_envs().filter_map(|(name, value)| {
        let is_ours = name.to_str()?.starts_with("BANGER_");
        is_ours.then(|| format!("{}={}", name.display(), value.unwrap_or_default().display()))
    });
    let environment: Vec<String> = environment.collect();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host_key\n\
         AuthorizedKeysFile {place}/user_key.pub\nStrictModes no\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nLogLevel ERROR\n{}\
         SetEnv PATH={programs}:/usr/bin:/bin {}\n",
        sshd.lines(),
        environment.join(" ")
    );
    std::fs::write(path("sshd_config"), config).unwrap();
    std::fs::write(
        path("known"),
        format!("[127.0.0.1]:{port} {}", text("host_key.pub")),
    )
    .unwrap();
    let config = format!(
        "Host lab\n HostName 127.0.0.1\n Port {port}\n User root\n IdentityFile {place}/user_key\n \
         IdentitiesOnly yes\n UserKnownHostsFile {place}/known\n"
    );
    std::fs::write(path("config"), config).unwrap();
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700).create(path("run")).unwrap();
    // ssh finds a user's own configuration by the password database, not by HOME.
    std::fs::create_dir(path("bin")).unwrap();
    let script = format!("#!/bin/sh\nexec /usr/bin/ssh -F {place}/config \"$@\"\n");
    std::fs::write(path("bin/ssh"), script).unwrap();
    host("chmod", &["755", path("bin/ssh").to_str().unwrap()]);
    let child = sshd
        .command()
        .args(["-D", "-e", "-f"])
        .arg(path("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sshd = Sshd { folder, child };
    wait_for(Duration::from_secs(30), || {
        TcpStream::connect(("127.0.0.1", port)).map_err(|cause| cause.to_string())
    });
    sshd
}

pub(crate) fn a_guest_of_another_machine_is_reached_with_the_clients_own_key() {
    needs_real_vms!();
    let Some(sshd) = TestSshd::find() else {
        eprintln!(
            "SKIPPED: {}: there is no sshd here; tools/setup test unpacks one",
            module_path!()
        );
        return;
    };
    let world = shared();
    world.first();
    let sshd = start(&sshd, &world);
    let folder = sshd.folder.path();
    let run = |command: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_banger"))
            .args(["--host", "lab", "vm", "ssh", "first", "--"])
            .args(command)
            .env_clear()
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", folder.join("run"))
            .env("PATH", format!("{}/bin:/usr/bin:/bin", folder.display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (text, output.status.code(), said)
    };
    let (text, status, said) = run(&["printf", "<%s>", "it's", "a  b"]);
    assert_eq!((text.as_str(), status), ("<it's><a  b>", Some(0)), "{said}");
    assert_eq!(run(&["sh", "-c", "exit 7"]).1, Some(7));
    // The guest accepts the client's key until the VM stops.
    let own = std::fs::read_to_string(folder.join(".config/banger/hosts/id_ed25519.pub")).unwrap();
    let keys = world.ssh("first", &["cat", "/run/banger/authorized_keys"]);
    assert_eq!(keys.matches(own.trim()).count(), 1, "{keys}");
    assert_eq!(keys.lines().count(), 2, "{keys}");
}
