//! The sshd of tests: the machine's own, or the one that `tools/setup test` has unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a root's sshd finds nowhere but on a machine that has one installed: a directory in /run, and
/// a user. Both are in a mount namespace of its own.
const SCRIPT: &str = "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 /run/sshd && \
    { grep -q ^sshd: /etc/passwd || \
      { { cat /etc/passwd; echo sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin; } > /run/passwd && \
        mount --bind /run/passwd /etc/passwd; }; } && \
    exec \"$0\" \"$@\"";

/// An sshd, not yet started.
#[derive(Debug)]
pub(crate) struct TestSshd {
    program: PathBuf,
    /// The folder that it was unpacked into.
    folder: Option<PathBuf>,
}

impl TestSshd {
    /// The sshd of this machine, if there is one.
    pub(crate) fn find() -> Option<Self> {
        let program = PathBuf::from("/usr/sbin/sshd");
        if program.is_file() {
            let folder = None;
            return Some(Self { program, folder });
        }
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = top.canonicalize().ok()?.join("target/test-sshd");
        let program = folder.join("usr/sbin/sshd");
        let folder = Some(folder);
        program.is_file().then_some(Self { program, folder })
    }

    /// Its configuration's lines that say where its other programs are. Versions before 9.8 have
    /// none, and reject the lines.
    pub(crate) fn lines(&self) -> String {
        let Some(folder) = &self.folder else {
            return String::new();
        };
        [
            ("SshdSessionPath", "sshd-session"),
            ("SshdAuthPath", "sshd-auth"),
        ]
        .map(|(key, name)| (key, folder.join("usr/lib/openssh").join(name)))
        .iter()
        .filter(|(_, program)| program.is_file())
        .map(|(key, program)| format!("{key} {}\n", program.display()))
        .collect()
    }

    /// The command that runs it, without options, and with nothing of the test's environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", SCRIPT]);
            command.arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command.env_clear().env("PATH", "/usr/bin:/usr/sbin:/bin");
        if let Some(folder) = &self.folder {
            let architecture = std::env::consts::ARCH;
            let libraries = folder.join(format!("usr/lib/{architecture}-linux-gnu"));
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}
