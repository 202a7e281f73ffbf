//! Two machines: a real sshd on 127.0.0.1, with a home, keys and a configuration of its own, and a
//! client whose ssh reads no file of the user's own.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::environment::{Run, TestEnvironment, program};
use crate::sshd::TestSshd;

/// Why tests with another machine are skipped.
pub(super) const NO_SSHD: &str = "there is no sshd here; tools/setup test unpacks one";

/// The client's machine and the other one.
pub(super) struct TwoMachines {
    pub(super) client: TestEnvironment,
    pub(super) server: TestEnvironment,
    pub(super) sshd: Child,
    pub(super) port: u16,
}

/// The name of the user who runs the tests.
pub(super) fn user() -> String {
    let user = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(user.stdout).unwrap().trim().to_owned()
}

/// A port without a listener.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(super) fn run(program: &str, arguments: &[&str]) {
    let ended = Command::new(program).args(arguments).output().unwrap();
    assert!(ended.status.success(), "{program} {arguments:?}: {ended:?}");
}

/// Two machines, or `None` without an sshd.
pub(super) fn two_machines(more: &str) -> Option<TwoMachines> {
    machines(more, "BANGER_SIM=1")
}

/// The same, with these variables in sessions there.
pub(super) fn machines(more: &str, variables: &str) -> Option<TwoMachines> {
    let Some(sshd) = TestSshd::find() else {
        eprintln!("SKIPPED: {}: {NO_SSHD}", module_path!());
        return None;
    };
    let (client, server) = (TestEnvironment::new(), TestEnvironment::new());
    for key in ["host_key", "user_key"] {
        let path = server.path(key);
        run(
            "ssh-keygen",
            &[
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-f",
                path.to_str().unwrap(),
            ],
        );
    }
    let port = free_port();
    let folder = server.path("");
    let folder = folder.display();
    let programs = program().parent().unwrap().display().to_string();
    let lines = sshd.lines();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}host_key\n\
         AuthorizedKeysFile {folder}authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nLogLevel ERROR\n{lines}{more}\n\
         SetEnv HOME={folder}home {variables} TMPDIR={folder}tmp XDG_RUNTIME_DIR= PATH={folder}bin:{programs}:/usr/bin:/bin\n"
    );
    std::fs::write(server.path("sshd_config"), config).unwrap();
    let public = std::fs::read_to_string(server.path("user_key.pub")).unwrap();
    std::fs::write(server.path("authorized_keys"), public).unwrap();
    let public = std::fs::read_to_string(server.path("host_key.pub")).unwrap();
    std::fs::write(
        client.path("known_hosts"),
        format!("[127.0.0.1]:{port} {public}"),
    )
    .unwrap();
    let user = user();
    let text = format!(
        "Host lab\n HostName 127.0.0.1\n Port {port}\n User {user}\n IdentityFile {folder}user_key\n \
         IdentitiesOnly yes\n StrictHostKeyChecking yes\n UserKnownHostsFile {}\n \
         RemoteCommand echo hello\n LocalForward 127.0.0.1:{port} 127.0.0.1:1\n",
        client.path("known_hosts").display()
    );
    std::fs::write(client.path("ssh_config"), text).unwrap();
    // ssh finds a user's own configuration by the password database, not by HOME.
    let line = format!(
        "exec /usr/bin/ssh -F {} \"$@\"",
        client.path("ssh_config").display()
    );
    client.script("ssh", &line);
    let sshd = start_sshd(&sshd, &server.path("sshd_config"), port);
    Some(TwoMachines {
        client,
        server,
        sshd,
        port,
    })
}

/// Starts an sshd, and waits until it listens.
pub(super) fn start_sshd(sshd: &TestSshd, config: &Path, port: u16) -> Child {
    let mut command = sshd.command();
    let mut child = command
        .args(["-D", "-e", "-f"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait().unwrap() {
            let mut text = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut text);
            panic!("sshd ended: {status}: {text}");
        }
        assert!(Instant::now() < deadline, "sshd does not listen");
        std::thread::yield_now();
    }
    child
}

impl TwoMachines {
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.client.command(arguments);
        command
            .env_remove("BANGER_SIM")
            .env("XDG_RUNTIME_DIR", self.client.path("run"));
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    pub(super) fn done(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.status, 0, "banger {arguments:?}: {run:#?}");
        run
    }

    pub(super) fn refused(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.status, 1, "banger {arguments:?}: {run:#?}");
        run.stderr
    }

    pub(super) fn names(&self) -> String {
        let list = ["--host", "lab", "vm", "list", "-o", "name"];
        self.done(&list).stdout.replace('\n', " ")
    }

    /// The files of the connection with this suffix.
    pub(super) fn files(&self, end: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.client.path("run/banger/hosts"));
        let entries = entries.into_iter().flatten().flatten().map(|it| it.path());
        entries
            .filter(|it| it.to_string_lossy().ends_with(end))
            .collect()
    }

    /// The ssh processes of this connection.
    pub(super) fn masters(&self) -> Vec<Pid> {
        processes(&self.client.path("run").display().to_string())
    }
}

/// The processes whose command line contains this word.
pub(super) fn processes(word: &str) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let has_word = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    let number =
        |entry: &std::fs::DirEntry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?);
    entries
        .filter_map(|entry| number(&entry).filter(|_| has_word(&entry)))
        .collect()
}

impl Drop for TwoMachines {
    fn drop(&mut self) {
        for left in self.masters() {
            let _ = kill_process(left, Signal::KILL);
        }
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}
