//! The guest's resolvers, beside other programs of the guest that set resolvers.
//!
//! The daemon's resolvers are kept in one file, [`UPSTREAM`]. `/etc/resolv.conf` is a link to a
//! second one, [`RESOLV_CONF`], and a program of the guest may write through the link: a VPN writes
//! its own resolvers there, and removes them when it goes down. The file has banger's whenever it
//! has no other program's. systemd-resolved, which a user may install, reads neither; it gets a
//! drop-in.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;

use banger_guest::config::Resolvers;

use crate::boot_record::RESOLV_CONF;
use crate::system::enter;
use crate::system::replace::{self, Rights};

/// The daemon's latest resolvers, in the format of a `resolv.conf`.
const UPSTREAM: &str = "/run/banger/upstream-resolv.conf";

/// The configuration of systemd-resolved (`resolved.conf`(5)).
const RESOLVED: &str = "/run/systemd/resolved.conf.d/10-banger.conf";

/// This directory exists while systemd-resolved runs.
const RESOLVED_RUNS: &str = "/run/systemd/resolve";

/// Debian's resolvconf, and openresolv under the same name.
const RESOLVCONF: &str = "/usr/sbin/resolvconf";

/// The folder of resolvconf's own `resolv.conf`, the target of its link at `/etc/resolv.conf`.
const RESOLVCONF_FOLDER: &str = "/run/resolvconf";

const ETC_RESOLV_CONF: &str = "/etc/resolv.conf";

/// The beginning of the first line of every `resolv.conf` that banger writes.
const OURS: &str = "# Written by banger";

/// Writes the daemon's resolvers; returns whether they are new to systemd-resolved.
pub(crate) fn write(resolvers: &Resolvers) -> io::Result<bool> {
    let text = resolvers.resolv_conf();
    put(UPSTREAM, &text)?;
    if gives_way(&fs::read_to_string(RESOLV_CONF).unwrap_or_default()) {
        put(RESOLV_CONF, &text)?;
    }
    let drop_in = resolved_conf(resolvers);
    let is_news = fs::read_to_string(RESOLVED).is_ok_and(|found| found != drop_in);
    put(RESOLVED, &drop_in)?;
    Ok(is_news)
}

/// Writes the daemon's resolvers in a running guest, and notifies programs that keep a copy.
pub(crate) fn tell(resolvers: &Resolvers) -> io::Result<()> {
    let is_news = write(resolvers)?;
    if is_news && Path::new(RESOLVED_RUNS).is_dir() {
        let unit = "systemd-resolved.service";
        begin(enter::program("/usr/bin/systemctl").args([
            "--no-block",
            "try-reload-or-restart",
            unit,
        ]))?;
    }
    if leads_below(ETC_RESOLV_CONF, RESOLVCONF_FOLDER) && Path::new(RESOLVCONF).exists() {
        let upstream = fs::File::open(UPSTREAM)?;
        begin(
            enter::program(RESOLVCONF)
                .args(["-a", "eth0.banger"])
                .stdin(upstream),
        )?;
    }
    Ok(())
}

/// Restores banger's resolvers after another program has removed its own, or has put back older
/// ones of banger's.
pub(crate) fn restore() -> io::Result<()> {
    let Ok(upstream) = fs::read_to_string(UPSTREAM) else {
        return Ok(());
    };
    if gives_way(&fs::read_to_string(RESOLV_CONF).unwrap_or_default()) {
        put(RESOLV_CONF, &upstream)?;
    }
    Ok(())
}

/// Whether the target of a symbolic link is below `folder`.
pub(crate) fn leads_below(link: impl AsRef<Path>, folder: &str) -> bool {
    fs::read_link(link).is_ok_and(|target| {
        // Packages also write `../run/…`.
        Path::new("/etc").join(&target).starts_with(folder)
            || target
                .strip_prefix("..")
                .is_ok_and(|it| Path::new("/").join(it).starts_with(folder))
    })
}

/// Whether banger may replace this `resolv.conf`: it is banger's, or names no resolver.
fn gives_way(resolv_conf: &str) -> bool {
    let names_somebody = |line: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver") && words.next().is_some()
    };
    resolv_conf.starts_with(OURS) || !resolv_conf.lines().any(names_somebody)
}

fn resolved_conf(resolvers: &Resolvers) -> String {
    let servers: Vec<String> = resolvers.servers.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{OURS}; edits are lost.\n[Resolve]\nDNS={}\n",
        servers.join(" ")
    );
    if !resolvers.search.is_empty() {
        text.push_str(&format!("Domains={}\n", resolvers.search.join(" ")));
    }
    text
}

/// Starts a program without waiting for it.
fn begin(command: &mut std::process::Command) -> io::Result<()> {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::spawn(move || child.wait());
    Ok(())
}

fn put(path: &str, text: &str) -> io::Result<()> {
    replace::write(Path::new(path), text.as_bytes(), Rights::root(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn ours_give_way_to_a_tunnels_and_come_back_when_it_goes() {
        let ours = Resolvers {
            servers: vec![[192, 0, 2, 1].into()],
            search: Vec::new(),
        };
        assert!(gives_way(&ours.resolv_conf()));
        assert!(!gives_way(
            "# Generated by resolvconf\nnameserver 192.0.2.53\n"
        ));
        assert!(gives_way("# Generated by resolvconf\n"));
        assert!(gives_way("# nameserver 192.0.2.53\nnameserver\n"));
        assert!(gives_way(""));
    }

    #[test]
    fn resolved_gets_servers_and_domains() {
        let text = resolved_conf(&Resolvers {
            servers: vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
            search: vec!["office.example".into(), "lan".into()],
        });
        assert!(
            text.ends_with("\n[Resolve]\nDNS=192.0.2.1 192.0.2.2\nDomains=office.example lan\n")
        );
        assert!(!resolved_conf(&Resolvers::default()).contains("Domains"));
    }

    #[test]
    fn a_link_is_known_in_both_spellings() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("resolv.conf");
        let link = link.to_str().unwrap();
        for (target, expected) in [
            ("/run/systemd/resolve/stub-resolv.conf", true),
            ("../run/systemd/resolve/stub-resolv.conf", true),
            ("/run/banger/resolv.conf", false),
            ("stub-resolv.conf", false),
        ] {
            let _ = fs::remove_file(link);
            symlink(target, link).unwrap();
            assert_eq!(leads_below(link, RESOLVED_RUNS), expected, "{target}");
        }
    }
}
