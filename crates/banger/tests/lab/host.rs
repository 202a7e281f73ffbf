//! A lab: the QEMU process that is a host, its disk, and the access to it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a lab may take to answer after QEMU starts, on a busy machine without KVM.
pub(crate) const BOOT: Duration = Duration::from_secs(600);

/// How long a command in a lab may take, unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(900);

/// A login to guests in nested emulation, whose first login may take more than a minute.
const PATIENT_SSH: &str = "banger vm ssh -o ConnectTimeout=300 -o ServerAliveCountMax=50 ";

/// Succeeds once the host is up; on a busy machine SSH may answer before the payload is mounted.
const UP: &str = "mountpoint -q /srv/payload || mount /srv/payload";

/// Prints the last lines of the consoles and logs of all VMs in a lab.
const CONSOLES: &str = "tail -n 30 \
    {/root,/home/*}/.local/state/banger/vms/*/machine/{console,hypervisor}.log 2>/dev/null; \
    ps -e -o pid,stat,time,wchan:20,args --sort=-time | head -n 15";

/// The user that a command runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    /// May use sudo without a password.
    Ada,
    /// May not use sudo.
    Bob,
}

impl User {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ada => "ada",
            Self::Bob => "bob",
        }
    }
}

/// The result of a command in a lab.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: i32,
}

/// A host that is a QEMU process. Dropping it cuts it off and removes its disk.
#[derive(Debug)]
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    qemu: Option<Child>,
    /// The server of the disk, which loses unflushed data when the power is cut.
    nbdkit: Option<Child>,
    is_served: bool,
}

/// The reason why no lab can run here, if there is one.
pub(crate) fn lacking() -> Option<String> {
    let Some(folder) = std::env::var_os("BANGER_LAB") else {
        return Some("BANGER_LAB names no payload (make lab does)".to_owned());
    };
    let payload = Path::new(&folder).join("payload.img");
    if !payload.is_file() {
        return Some(format!("there is no {}", payload.display()));
    }
    (!Path::new("/usr/bin/qemu-system-x86_64").exists()).then(|| "QEMU is not installed".to_owned())
}

/// Whether the long tests are requested.
pub(crate) fn is_full() -> bool {
    std::env::var_os("BANGER_LAB_FULL").is_some_and(|it| it == "1")
}

/// Counts a long test as skipped unless they are requested.
#[macro_export]
macro_rules! needs_full_lab {
    () => {
        $crate::needs_lab!();
        if !$crate::host::is_full() {
            eprintln!("SKIPPED: {}: it takes long (make lab-full)", module_path!());
            return;
        }
    };
}

/// Counts a test as skipped, with the reason.
#[macro_export]
macro_rules! needs_lab {
    () => {
        if let Some(reason) = $crate::host::lacking() {
            eprintln!("SKIPPED: {}: {reason}", module_path!());
            return;
        }
    };
}

fn tool() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/lab")
}

impl Lab {
    /// A booted lab with a fresh disk, in which banger is installed.
    pub(crate) fn new() -> Self {
        Self::with_disk(false)
    }

    /// The same, with a disk that loses unflushed data when the power is cut.
    pub(crate) fn with_lossy_disk() -> Self {
        Self::with_disk(true)
    }

    fn with_disk(is_served: bool) -> Self {
        let above = PathBuf::from(std::env::var_os("BANGER_LAB").unwrap());
        let folder = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&above)
            .unwrap();
        let mut disk = Command::new(tool());
        disk.arg("disk").arg(folder.path());
        if is_served {
            disk.arg("raw");
        }
        let made = finish(&disk.output().unwrap());
        assert_eq!(made.status, 0, "{}", made.stderr);
        std::fs::hard_link(above.join("payload.img"), folder.path().join("payload.img")).unwrap();
        let mut lab = Self {
            folder,
            qemu: None,
            nbdkit: None,
            is_served,
        };
        lab.boot();
        let install = std::fs::read(tool().with_file_name("lab-install.sh")).unwrap();
        lab.root(&String::from_utf8(install).unwrap());
        lab
    }

    /// Turns the host on, and waits until it answers.
    pub(crate) fn boot(&mut self) {
        let began = Instant::now();
        if self.is_served {
            let mut serve = Command::new(tool());
            serve.arg("serve").arg(self.folder.path());
            self.nbdkit = Some(serve.stdin(Stdio::null()).spawn().unwrap());
            let socket = self.folder.path().join("nbd.sock");
            wait_for(BOOT, || {
                let is_there = socket.exists();
                is_there
                    .then_some(())
                    .ok_or("no socket of nbdkit".to_owned())
            });
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let log = std::fs::File::create(self.folder.path().join("qemu.log")).unwrap();
        let qemu = Command::new(tool())
            .arg("boot")
            .arg(self.folder.path())
            .arg(port.unwrap().port().to_string())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.qemu = Some(qemu);
        wait_for(BOOT, || {
            let ended = self.qemu.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "QEMU ended: {}", self.read("qemu.log"));
            let run = self.run(User::Root, UP);
            (run.status == 0).then_some(()).ok_or_else(|| {
                let console = self.read("console.log");
                format!(
                    "{run:?}\n{}",
                    &console[console.len().saturating_sub(2000)..]
                )
            })
        });
        eprintln!("the lab's host is up after {:.0?}", began.elapsed());
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace(|c: char| !c.is_ascii(), "?")
    }

    /// Cuts the power: host and disk end at once, in any state.
    pub(crate) fn cut(&mut self) {
        let mut ended: Vec<Child> = self
            .nbdkit
            .take()
            .into_iter()
            .chain(self.qemu.take())
            .collect();
        for process in &mut ended {
            let _ = process.kill();
        }
        for mut process in ended {
            let _ = process.wait();
        }
    }

    /// Reboots the host as its administrator would, and waits until it is up again.
    pub(crate) fn reboot(&self) {
        let began = Instant::now();
        let boot_id = "cat /proc/sys/kernel/random/boot_id";
        let before = self.root(boot_id);
        self.run(User::Root, "systemctl reboot");
        wait_for(BOOT, || {
            self.hang_up();
            let run = self.run(User::Root, &format!("{UP} && {boot_id}"));
            let is_up = run.status == 0 && run.stdout.trim_end() != before;
            is_up.then_some(()).ok_or(format!("{run:?}"))
        });
        eprintln!("the lab's host is up again after {:.0?}", began.elapsed());
    }

    /// Closes the connection, so that the next command logs in again.
    pub(crate) fn hang_up(&self) {
        for user in [User::Root, User::Ada, User::Bob] {
            let _ = std::fs::remove_file(self.folder.path().join(format!("ssh-{}", user.name())));
        }
    }

    /// A command that is not started yet: a script for the shell of a user in the lab.
    ///
    /// Each `banger vm ssh` in it waits long enough for the login of an emulated guest on an
    /// emulated host.
    pub(crate) fn command(&self, user: User, script: &str, patience: Duration) -> Command {
        let script = script.replace("banger vm ssh ", PATIENT_SSH);
        let mut command = Command::new("timeout");
        command
            .arg("--kill-after=5")
            .arg(patience.as_secs().to_string())
            .arg(tool())
            .arg("run")
            .arg(self.folder.path())
            .arg(user.name())
            .arg(script)
            .stdin(Stdio::null());
        command
    }

    /// Runs a script as a user, whatever its status.
    pub(crate) fn run(&self, user: User, script: &str) -> Run {
        finish(&self.command(user, script, PATIENCE).output().unwrap())
    }

    /// Runs a script as a user, which must succeed, and returns what it printed.
    pub(crate) fn must(&self, user: User, script: &str) -> String {
        let run = self.run(user, &format!("set -e; {script}"));
        self.expect(script, &run);
        run.stdout.trim_end().to_owned()
    }

    /// Panics if a run failed, with the last lines of the consoles of the VMs and of the lab's
    /// host.
    pub(crate) fn expect(&self, what: &str, run: &Run) {
        if run.status == 0 {
            return;
        }
        let vms = self.run(User::Root, CONSOLES).stdout;
        let host = self.read("console.log");
        let host = &host[host.len().saturating_sub(4000)..];
        panic!("{what}: {run:?}\n--- the VMs:\n{vms}\n--- the lab's host:\n{host}");
    }

    /// The same as root.
    pub(crate) fn root(&self, script: &str) -> String {
        self.must(User::Root, script)
    }

    /// The output of `banger --json` for a user.
    pub(crate) fn json(&self, user: User, arguments: &str) -> Value {
        let text = self.must(user, &format!("banger --json {arguments}"));
        serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{arguments}: {cause}: {text}"))
    }

    /// Ensures that a VM of this name runs; if it is missing, it is created with these options.
    pub(crate) fn running(&self, user: User, name: &str, options: &str) {
        let make = format!("banger vm create --name {name} {options}");
        let start = format!("banger vm start {name}");
        self.must(
            user,
            &format!("if banger vm show {name} >/dev/null 2>&1; then {start}; else {make}; fi"),
        );
    }

    /// Copies files into the lab's `/usr/local/bin`.
    pub(crate) fn put(&self, files: &[&PathBuf]) {
        let mut put = Command::new(tool());
        put.arg("put").arg(self.folder.path()).args(files);
        let run = finish(&put.output().unwrap());
        assert_eq!(run.status, 0, "{}", run.stderr);
    }

    /// Writes the configuration of a user's daemon, and ends a running one, so that the next one
    /// reads it.
    pub(crate) fn configure(&self, user: User, text: &str) {
        self.must(
            user,
            &format!(
                "mkdir -p ~/.config/banger; cat > ~/.config/banger/config.toml <<'END'\n{text}\nEND"
            ),
        );
        self.run(user, "banger daemon stop");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.cut();
    }
}

fn finish(output: &Output) -> Run {
    Run {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status.code().unwrap_or(-1),
    }
}

/// Polls until the answer is good, or panics with the last bad one.
pub(crate) fn wait_for<T>(patience: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if Instant::now() > deadline => panic!("not within {patience:?}: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}
