//! ssh's master: one connection to a machine that all commands share.
//!
//! The first command that needs a machine starts `ssh` as a master (`ControlMaster`,
//! ssh_config(5)), which goes to the background and stays for a while after its last user
//! (`ControlPersist`). A new ssh takes 0.3 s and a login; a request through the master needs
//! neither. The server's limits on logins (`MaxStartups`) and sessions (`MaxSessions`) apply once,
//! not once for each request.
//!
//! The user's own configuration of ssh applies: there is no `-F`, and no option of banger's
//! concerns host keys, users, keys, jump hosts or passwords. Only options for the user's own
//! sessions are left out, because they would end up in the master: forwards, and remote and local
//! commands.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use banger_api::Result;

use super::destination::Destination;
use super::files::Files;
use crate::programs::{self, SshProcess};

/// How long the master stays after its last user.
const PERSIST: &str = "ControlPersist=600";
/// How long a request to the master may take: it answers on this machine, without the network.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether ssh may prompt the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prompts {
    /// On the terminal: for a password, a second factor, an unknown host key.
    Allowed,
    /// Never: the terminal is in use, or several machines are asked at once.
    Refused,
}

/// The options of every ssh that uses the master, or becomes it.
pub(super) fn options(files: &Files, prompts: Prompts) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec![
        "-o".into(),
        control_path(&files.control()),
        "-o".into(),
        "ControlMaster=auto".into(),
    ];
    let mut own = vec![
        PERSIST,
        // A laptop that slept notices within a minute that its connection is dead.
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "StreamLocalBindUnlink=yes",
        "ClearAllForwardings=yes",
        "RemoteCommand=none",
        "PermitLocalCommand=no",
        "ForwardX11=no",
    ];
    if prompts == Prompts::Refused {
        own.extend(["BatchMode=yes", "ConnectTimeout=10"]);
    }
    options.extend(own.iter().flat_map(|it| ["-o".into(), OsString::from(it)]));
    options
}

/// A path in ssh's configuration, in which `%` begins a token and a space ends a value.
fn control_path(path: &Path) -> OsString {
    let path = path.to_string_lossy().replace('%', "%%");
    format!("ControlPath=\"{path}\"").into()
}

/// Starts `command` there, with one stream as its standard input and output. The first such ssh
/// becomes the master.
///
/// # Errors
/// If ssh cannot be started.
pub(super) fn open(
    files: &Files,
    destination: &Destination,
    command: &OsStr,
    prompts: Prompts,
) -> Result<(SshProcess, UnixStream)> {
    let mut arguments = vec!["-T".into()];
    arguments.extend(options(files, prompts));
    arguments.extend(destination.arguments());
    arguments.push(command.to_owned());
    programs::open_ssh(&arguments)
}

/// Sends a request to the master (`-O`); false if there is none, or it refuses.
fn control(files: &Files, destination: &Destination, what: &[OsString]) -> bool {
    // Without a socket, ssh would find that out only after reading all of its configuration.
    if !files.control().exists() {
        return false;
    }
    let mut arguments = vec!["-o".into(), control_path(&files.control())];
    arguments.extend(what.iter().cloned());
    arguments.extend(destination.arguments());
    programs::ask_ssh(&arguments, Instant::now() + PATIENCE)
}

/// Whether a master runs.
pub(super) fn is_there(files: &Files, destination: &Destination) -> bool {
    control(files, destination, &["-O".into(), "check".into()])
}

/// Makes the master forward a socket there to ours; false if it cannot.
pub(super) fn forward(files: &Files, destination: &Destination, there: &str) -> bool {
    let quoted = |path: &str| path.replace('\\', "\\\\").replace(':', "\\:");
    let here = files.socket();
    let pair: OsString = format!("{}:{}", quoted(&here.to_string_lossy()), quoted(there)).into();
    let words = |what: &str| ["-O".into(), what.into(), "-L".into(), pair.clone()];
    // A master treats a forward that it already has as done, even if the file of its socket is
    // missing.
    control(files, destination, &words("cancel"));
    // The file stays when a master ends, and ssh does not bind an existing path.
    let _ = fs::remove_file(&here);
    control(files, destination, &words("forward"))
}

/// Ends the master, whose network may be dead.
pub(super) fn end(files: &Files, destination: &Destination) {
    control(files, destination, &["-O".into(), "exit".into()]);
    for left in [files.control(), files.socket(), files.no_forwarding()] {
        let _ = fs::remove_file(left);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The options as the real ssh reads them, if ssh is installed.
    #[expect(clippy::disallowed_methods, reason = "a test asks the real ssh")]
    fn as_ssh_reads(files: &Files, own: &Path) -> Option<String> {
        let destination: Destination = "ada@lab:2222".parse().unwrap();
        let output = Command::new("ssh")
            .arg("-G")
            .arg("-F")
            .arg(own)
            .args(options(files, Prompts::Allowed))
            .args(destination.arguments())
            .output()
            .ok()?;
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn the_users_own_configuration_holds_except_for_what_belongs_to_their_sessions() {
        let folder = tempfile::Builder::new()
            .prefix("a 50% b")
            .tempdir()
            .unwrap();
        let own = folder.path().join("config");
        let text = "Host lab\n HostName lab.example\n ProxyJump gate\n StrictHostKeyChecking ask\n \
                    RemoteCommand tmux\n ControlPath none\n IdentityFile /k\n";
        fs::write(&own, text).unwrap();
        let destination: Destination = "lab".parse().unwrap();
        let files = Files::new(Some(folder.path()), folder.path(), &destination);
        let Some(read) = as_ssh_reads(&files, &own) else {
            return;
        };
        for kept in [
            "hostname lab.example",
            "proxyjump gate",
            "stricthostkeychecking ask",
            "identityfile /k",
            "user ada",
            "port 2222",
            "controlmaster auto",
            "controlpersist 600",
            "serveraliveinterval 15",
            "clearallforwardings yes",
        ] {
            assert!(read.contains(&format!("\n{kept}\n")), "{kept}: {read}");
        }
        let path = files.control();
        let path = path.display().to_string().replace('%', "%%");
        assert!(
            read.contains(&format!("\ncontrolpath {path}\n"))
                || read.contains(&format!("\ncontrolpath {}\n", path.replace("%%", "%"))),
            "{read}"
        );
        assert!(!read.contains("remotecommand tmux"), "{read}");
    }
}
