//! The end of the start: the agent becomes a unit of the image's systemd, and the image's init
//! becomes the first process.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use super::{login, netplan};
use crate::boot_record::{FOLDER, PROGRAM};
use crate::failure::{Context as _, Failure, Result};
use crate::session;
use crate::system::replace::{self, Rights, make_directory};
use crate::system::{console, enter};

/// The directory that systemd returns to when everything is unmounted.
const EXIT: &str = "/run/initramfs";

/// The directories that systemd moves its mounts to then.
const EXIT_FOLDERS: [&str; 5] = ["proc", "sys", "dev", "run", "oldroot"];

const UNITS: &str = "/run/systemd/system";

/// The agent's own slice, so that operations on other slices, such as freezing them, do not affect
/// the agent. A slice without a unit file has the default dependencies, and a shutdown would stop
/// it together with the agent.
const SLICE: &str = "\
[Unit]
Description=banger's agent and nothing else
DefaultDependencies=no

[Slice]
MemoryMin=16M
";

/// Without the default dependencies the agent starts first, and no unit of a shutdown stops it, so
/// that it still answers when one hangs. systemd's last round of signals ends it.
const AGENT: &str = "\
[Unit]
Description=banger's agent
DefaultDependencies=no
IgnoreOnIsolate=yes
StartLimitIntervalSec=0

[Service]
Slice=banger.slice
ExecStart=/run/banger/banger-guest agent
Restart=always
RestartSec=100ms
OOMScoreAdjust=-900
StandardOutput=null
StandardError=null
";

/// The unit that records the end of the boot, for guests without an sshd on port 22.
const BOOTED: &str = "\
[Unit]
Description=Notify banger's agent that the system is up
After=multi-user.target
DefaultDependencies=no

[Service]
Type=oneshot
ExecStart=/run/banger/banger-guest booted
";

/// Installs this program where the agent's unit, sessions and systemd's return find it. It is
/// copied once; the other names are links.
pub(crate) fn install_program() -> Result<()> {
    let what = || format!("install `{PROGRAM}`");
    fs::copy("/proc/self/exe", PROGRAM).while_doing(what)?;
    fs::set_permissions(PROGRAM, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .while_doing(what)?;
    for folder in EXIT_FOLDERS {
        make_directory(&Path::new(EXIT).join(folder), 0o755).while_doing(what)?;
    }
    fs::hard_link(PROGRAM, format!("{FOLDER}/{}", session::NAME)).while_doing(what)?;
    fs::hard_link(PROGRAM, format!("{EXIT}/shutdown")).while_doing(what)
}

/// Writes a unit, and returns its path.
fn write_unit(name: &str, text: &str) -> Result<String> {
    let unit = format!("{UNITS}/{name}");
    replace::write(Path::new(&unit), text.as_bytes(), Rights::root(0o644))
        .while_doing(|| format!("write `{unit}`"))?;
    Ok(unit)
}

/// Writes a unit that starts with another one.
fn install_unit(name: &str, text: &str, wanted_by: &str) -> Result<()> {
    let unit = write_unit(name, text)?;
    let what = || format!("have `{wanted_by}` start `{name}`");
    let wants = format!("{UNITS}/{wanted_by}.wants");
    make_directory(Path::new(&wants), 0o755).while_doing(what)?;
    symlink(&unit, format!("{wants}/{name}")).while_doing(what)
}

fn has_systemd() -> bool {
    ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]
        .iter()
        .any(|path| is_there(path))
}

fn is_there(path: &str) -> bool {
    fs::exists(path).unwrap_or(false)
}

/// Serves the host's commands from now on, seconds before systemd starts the agent. This process is
/// independent of the agent, and continues to serve if the agent ends.
fn serve_streams() {
    let started = enter::program(PROGRAM)
        .args(["streams", "/"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(cause) = started {
        console::warn(&format!("commands of the host wait for the agent: {cause}"));
    }
}

/// The image's init: the one on the kernel's command line, or the first that exists.
fn image_init(command_line: &str) -> Option<String> {
    let words = command_line.split_whitespace();
    let named = words
        .filter_map(|word| word.strip_prefix("init="))
        .next_back();
    let usual = [
        "/sbin/init",
        "/usr/sbin/init",
        "/usr/lib/systemd/systemd",
        "/bin/init",
    ];
    let found = named.or_else(|| usual.into_iter().find(|path| is_there(path)));
    found.map(str::to_owned)
}

/// Becomes the image's init.
pub(crate) fn hand_over(arguments: &[String]) -> Result<()> {
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let Some(init) = image_init(&command_line) else {
        return Err(Failure::new("the image has no `/sbin/init`"));
    };
    if has_systemd() {
        write_unit("banger.slice", SLICE)?;
        install_unit("banger-agent.service", AGENT, "sysinit.target")?;
        install_unit("banger-booted.service", BOOTED, "multi-user.target")?;
        serve_streams();
        if let Err(failure) = netplan::keep_away(Path::new("/")) {
            console::warn(&failure.to_string());
        }
        // Without this a login takes longer, which does not keep the guest from starting.
        if let Err(failure) = login::prepare() {
            console::warn(&failure.to_string());
        }
    } else {
        enter::program(PROGRAM)
            .arg("agent")
            .spawn()
            .while_doing(|| "start the agent".to_owned())?;
    }
    console::note(&format!("handing over to `{init}`"));
    let cause = enter::program(&init).args(arguments).exec();
    Err(Failure::new(cause)).while_doing(|| format!("run `{init}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_may_name_another_init() {
        let init = image_init("console=ttyS0 init=/bin/first quiet init=/bin/sh");
        assert_eq!(init.as_deref(), Some("/bin/sh"));
        assert_ne!(image_init("quiet rdinit=/x").as_deref(), Some("/x"));
    }
}
