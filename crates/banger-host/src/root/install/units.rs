//! The systemd units of a user.
//!
//! | unit | what |
//! |---|---|
//! | `banger-root@<uid>.socket` | listens for the user |
//! | `banger-root@<uid>.service` | answers, as root, with the minimum of privileges |
//! | `banger-firewall@<uid>.service` | runs `banger-root restore` whenever nftables.service has replaced all rules |
//! | `banger-port@<uid>.socket` | holds the user's DNS port, from before the first login |
//! | `banger-port@<uid>.service` | passes it to the user's daemon |
//! | `banger-shutdown@<uid>.service` | stops the user's VMs when the host shuts down, before the network and their own units stop |

use std::path::Path;

use super::files;
use super::own::ROOT;
use super::paths::Paths;
use super::user::User;
use crate::command::Command;
use crate::root::{PROGRAMS, RUN, port_path};
use crate::{Claim, Result};

const SOCKET: (&str, &str) = (
    "banger-root@.socket",
    include_str!("../../../units/banger-root@.socket"),
);
const SERVICE: (&str, &str) = (
    "banger-root@.service",
    include_str!("../../../units/banger-root@.service"),
);

const PORT_SERVICE: (&str, &str) = (
    "banger-port@.service",
    include_str!("../../../units/banger-port@.service"),
);

/// The line that each uninstallation prints about lingering.
pub(super) const LINGER_STAYS: &str =
    "lingering stays enabled; to disable it: loginctl disable-linger";

/// The default state directory, below the user's home.
const USUAL_STATE: &str = ".local/state/banger";

/// The udev rule that ignores the devices of VMs, so that no program of the host reads what guests
/// write.
const RULE: (&str, &str) = (
    "56-banger.rules",
    include_str!("../../../udev/56-banger.rules"),
);

/// Writes the units, and enables and starts them.
pub(super) fn put(
    paths: &Paths,
    claim: &Claim,
    user: &User,
    cli: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let Some(run) = paths.systemd else {
        say(
            "systemd is not running: there are no units; `sudo -n` starts banger-root if sudo allows it",
        );
        return Ok(());
    };
    let usual = user.home.join(USUAL_STATE);
    let state = Some(&*claim.state).filter(|it| *it != usual);
    for (name, text) in [SOCKET, SERVICE, PORT_SERVICE] {
        files::write(&paths.units.join(name), text.as_bytes(), 0o644)?;
    }
    if paths.rules.is_dir() {
        files::write(&paths.rules.join(RULE.0), RULE.1.as_bytes(), 0o644)?;
        run(&Command::new("udevadm").args(["control", "--reload"]))?;
    }
    let shutdown = shutdown_of(claim.uid);
    let text = shutdown_text(claim.uid, &user.home, state, cli);
    files::write(&paths.units.join(&shutdown), text.as_bytes(), 0o644)?;
    let firewall = firewall_of(claim.uid);
    let text = firewall_text(&Path::new(PROGRAMS).join("banger-root"));
    files::write(&paths.units.join(&firewall), text.as_bytes(), 0o644)?;
    let systemctl = |words: &[&str]| run(&Command::new("systemctl").args(words));
    let (socket, service) = (socket_of(claim.uid), service_of(claim.uid));
    systemctl(&["daemon-reload"])?;
    // A running service is that of the program before.
    systemctl(&["stop", &service])?;
    systemctl(&["enable", &socket, &shutdown, &firewall])?;
    systemctl(&["restart", &socket])?;
    systemctl(&["start", &shutdown, &firewall])?;
    say(&format!(
        "systemd listens for {} with `{socket}`",
        claim.user
    ));
    put_port(paths, run, claim, say)?;
    // The user's units, and with them the VMs, continue after a logout.
    linger(run, &claim.user, say)
}

/// Makes systemd hold the user's DNS port. While the user's daemon has it, systemd cannot: it takes
/// the port at the next boot, or when the unit is started after that daemon has ended.
fn put_port(
    paths: &Paths,
    run: fn(&Command) -> Result<()>,
    claim: &Claim,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let systemctl = |words: &[&str]| run(&Command::new("systemctl").args(words));
    let (socket, service) = (port_socket_of(claim.uid), port_service_of(claim.uid));
    let path = paths.units.join(&socket);
    if claim.dns_port == 0 {
        return remove_port(paths, claim.uid);
    }
    let text = port_text(claim);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    files::write(&path, text.as_bytes(), 0o644)?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", &socket])?;
    if before != text {
        // At the first installation neither of them exists.
        let _ = systemctl(&["stop", &socket, &service]);
    }
    match systemctl(&["start", &socket]) {
        Ok(()) => say(&format!(
            "systemd reserves port {} of 127.0.0.1 for {}",
            claim.dns_port, claim.user
        )),
        Err(_) => say(&format!(
            "port {} of 127.0.0.1 is in use now, and is reserved for {} from the next boot; to reserve it now: \
             banger daemon stop; sudo systemctl start {socket}",
            claim.dns_port, claim.user
        )),
    }
    Ok(())
}

fn remove_port(paths: &Paths, uid: u32) -> Result<()> {
    let (socket, service) = (port_socket_of(uid), port_service_of(uid));
    let path = paths.units.join(&socket);
    if let Some(run) = paths.systemd
        && path.exists()
    {
        let systemctl = |words: &[&str]| run(&Command::new("systemctl").args(words));
        systemctl(&["disable", "--now", &socket])?;
        systemctl(&["stop", &service])?;
        // As in `remove`.
        let _ = systemctl(&["reset-failed", &socket, &service]);
    }
    files::remove(&path)
}

/// The text of the unit that holds a user's DNS port.
fn port_text(claim: &Claim) -> String {
    let (uid, port) = (claim.uid, claim.dns_port);
    let asked_at = port_path(Path::new(RUN), uid);
    let asked_at = asked_at.display();
    format!(
        "# Written by `banger system install`; changes are lost with the next.\n\
         [Unit]\n\
         Description=The DNS port of banger's VMs of user {uid}\n\
         \n\
         [Socket]\n\
         ListenDatagram=127.0.0.1:{port}\n\
         ListenStream=127.0.0.1:{port}\n\
         ListenSequentialPacket={asked_at}\n\
         SocketUser={uid}\n\
         SocketMode=0600\n\
         DirectoryMode=0755\n\
         RemoveOnStop=yes\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n"
    )
}

/// Writes the units that stop the VMs of root's own daemon and restore its firewall, and makes that
/// daemon's unit continue when root logs out.
pub(super) fn put_own(
    paths: &Paths,
    root: &User,
    state: &Path,
    (cli, program): (&Path, &Path),
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let Some(run) = paths.systemd else {
        say("systemd does not run here: no units");
        return Ok(());
    };
    let state = Some(state).filter(|it| *it != root.home.join(USUAL_STATE));
    let shutdown = shutdown_of(ROOT);
    let text = shutdown_text(ROOT, &root.home, state, cli);
    files::write(&paths.units.join(&shutdown), text.as_bytes(), 0o644)?;
    let firewall = firewall_of(ROOT);
    let text = firewall_text(program);
    files::write(&paths.units.join(&firewall), text.as_bytes(), 0o644)?;
    let systemctl = |words: &[&str]| run(&Command::new("systemctl").args(words));
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", "--now", &shutdown, &firewall])?;
    say(&format!(
        "`{shutdown}` stops root's VMs before the host shuts down; running ones are included from their next start"
    ));
    linger(run, &root.name, say)
}

/// Removes the units that [`put_own`] wrote; returns whether there were any.
pub(super) fn remove_own(paths: &Paths) -> Result<bool> {
    let (shutdown, firewall) = (shutdown_of(ROOT), firewall_of(ROOT));
    let path = paths.units.join(&shutdown);
    let is_there = path.exists();
    let systemctl = |words: &[&str]| match paths.systemd {
        Some(run) => run(&Command::new("systemctl").args(words)),
        None => Ok(()),
    };
    if is_there {
        systemctl(&["disable", "--now", &shutdown])?;
        // As in `remove`.
        let _ = systemctl(&["reset-failed", &shutdown]);
    }
    let firewall_unit = paths.units.join(&firewall);
    if firewall_unit.exists() {
        systemctl(&["disable", "--now", &firewall])?;
    }
    files::remove(&firewall_unit)?;
    files::remove(&path)?;
    // The reload happens even without a removal, because an earlier run may have ended just before
    // it.
    systemctl(&["daemon-reload"])?;
    Ok(is_there)
}

fn linger(run: fn(&Command) -> Result<()>, user: &str, say: &mut dyn FnMut(&str)) -> Result<()> {
    run(&Command::new("loginctl").args(["enable-linger", user]))?;
    say(&format!("{user}'s VMs outlive their sessions (linger)"));
    Ok(())
}

/// Removes the user's units, and with the last user those that all share.
pub(super) fn remove(
    paths: &Paths,
    uid: u32,
    is_last: bool,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let shutdown = shutdown_of(uid);
    let own = paths.units.join(&shutdown);
    let firewall = firewall_of(uid);
    let firewall_unit = paths.units.join(&firewall);
    let shared = [SOCKET.0, SERVICE.0, PORT_SERVICE.0].map(|name| paths.units.join(name));
    if let Some(run) = paths.systemd {
        let systemctl = |words: &[&str]| run(&Command::new("systemctl").args(words));
        if shared[0].exists() {
            systemctl(&["disable", "--now", &socket_of(uid)])?;
        }
        if shared[1].exists() {
            systemctl(&["stop", &service_of(uid)])?;
        }
        if firewall_unit.exists() {
            systemctl(&["disable", "--now", &firewall])?;
        }
        if own.exists() {
            systemctl(&["disable", "--now", &shutdown])?;
            // A unit whose last stop failed would stay in the list of failed units. If there is
            // nothing to reset, the error does not matter.
            let _ = systemctl(&["reset-failed", &shutdown]);
            say(LINGER_STAYS);
        }
    }
    files::remove(&own)?;
    files::remove(&firewall_unit)?;
    remove_port(paths, uid)?;
    if is_last {
        for path in shared.iter().chain([&paths.rules.join(RULE.0)]) {
            files::remove(path)?;
        }
    }
    match paths.systemd {
        Some(run) => run(&Command::new("systemctl").arg("daemon-reload")),
        None => Ok(()),
    }
}

/// The user's enabled units, in the order in which they start.
pub(super) fn of(uid: u32) -> Vec<String> {
    let socket = (uid != ROOT).then(|| socket_of(uid));
    let others = [shutdown_of(uid), firewall_of(uid)];
    socket.into_iter().chain(others).collect()
}

fn socket_of(uid: u32) -> String {
    format!("banger-root@{uid}.socket")
}

fn port_socket_of(uid: u32) -> String {
    format!("banger-port@{uid}.socket")
}

fn port_service_of(uid: u32) -> String {
    format!("banger-port@{uid}.service")
}

fn service_of(uid: u32) -> String {
    format!("banger-root@{uid}.service")
}

fn shutdown_of(uid: u32) -> String {
    format!("banger-shutdown@{uid}.service")
}

fn firewall_of(uid: u32) -> String {
    format!("banger-firewall@{uid}.service")
}

/// The text of the unit that restores the rules of all VMs whenever nftables.service is started,
/// restarted or reloaded, because each of these flushes all rules of the host. It goes by the
/// existing TAPs, so it also runs on a host without VMs.
fn firewall_text(program: &Path) -> String {
    let program = quoted(&program.display().to_string());
    format!(
        "# Written by `banger system install`; changes are lost with the next.\n\
         [Unit]\n\
         Description=Puts the firewall of banger's VMs back when nftables has replaced all rules\n\
         After=nftables.service\n\
         PartOf=nftables.service\n\
         ReloadPropagatedFrom=nftables.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={program} restore\n\
         ExecReload={program} restore\n\
         TimeoutStartSec=60s\n\
         SyslogIdentifier=banger-root\n\
         CapabilityBoundingSet=CAP_NET_ADMIN\n\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ReadWritePaths=-/run/banger\n\
         ProtectHome=yes\n\
         PrivateTmp=yes\n\
         RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target nftables.service\n"
    )
}

/// The text of the unit that stops a user's VMs when the host shuts down. systemd stops units in
/// the reverse of their start order. `state` is given if it is not the default.
fn shutdown_text(uid: u32, home: &Path, state: Option<&Path>, cli: &Path) -> String {
    let state = state.map_or_else(String::new, |state| {
        let variable = format!("BANGER_STATE={}", state.display());
        format!("Environment={}\n", quoted(&variable))
    });
    let home = quoted(&format!("HOME={}", home.display()));
    let cli = quoted(&cli.display().to_string());
    format!(
        "# Written by `banger system install`; changes are lost with the next.\n\
         [Unit]\n\
         Description=Stop banger's VMs of user {uid} before the host shuts down\n\
         Wants=user@{uid}.service\n\
         After=user@{uid}.service banger-root@{uid}.socket banger-root@{uid}.service\n\
         After=network.target network-online.target dbus.service systemd-logind.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         User={uid}\n\
         Environment={home} XDG_RUNTIME_DIR=/run/user/{uid}\n\
         {state}\
         # Does nothing unless the whole host stops: a restart of this unit stops no VM.\n\
         ExecStop={cli} vm stop --all --host-shutdown\n\
         # More than shutdown_timeout_seconds can be: no daemon holds up the host for longer.\n\
         TimeoutStopSec=330s\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// A word quoted for systemd (systemd.syntax(7), systemd.service(5)).
fn quoted(word: &str) -> String {
    let escaped = word
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{escaped}\"")
}
