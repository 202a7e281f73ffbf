//! The files of the guest config, and those that are written once.
//!
//! A file that cannot be written causes a warning only: a user may have made it immutable, or a
//! directory, and still expects the guest to start.

use std::fs::{self, File};
use std::path::Path;

use banger_guest::config::{self, GuestConfig};

use crate::failure::{Context as _, Failure, Result};
use crate::system::host_name;
use crate::system::replace::{self, Rights};

/// This file exists once everything that is written once has reached the disk.
const FIRST_BOOT: &str = "/var/lib/banger/first-boot";

/// Writes the files; returns the failures.
pub(crate) fn write(config: &GuestConfig) -> Vec<Failure> {
    let is_first = !fs::exists(FIRST_BOOT).unwrap_or(false);
    let mut results: Vec<Result<()>> = config.files.iter().map(write_file).collect();
    if is_first {
        results.push(write_once("/etc/hosts", &hosts(config)));
        results.push(write_once(
            "/etc/hostname",
            &format!("{}\n", config.hostname),
        ));
        results.push(mark());
    } else {
        let renamed = host_name::replace(&config.former_hostnames, &config.hostname);
        results.push(renamed.while_doing(|| "set the VM's new name".to_owned()));
    }
    results.into_iter().filter_map(Result::err).collect()
}

fn write_file(file: &config::File) -> Result<()> {
    let what = || format!("write `{}`", file.path);
    let bytes = file.content.bytes().while_doing(what)?;
    let rights = Rights {
        mode: file.mode,
        uid: file.uid,
        gid: file.gid,
    };
    replace::write(Path::new(&file.path), &bytes, rights).while_doing(what)
}

fn write_once(path: &str, text: &str) -> Result<()> {
    replace::write(Path::new(path), text.as_bytes(), Rights::root(0o644))
        .while_doing(|| format!("write `{path}`"))
}

fn mark() -> Result<()> {
    let what = || "mark the first boot as done".to_owned();
    let root = File::open("/").while_doing(what)?;
    rustix::fs::syncfs(&root).while_doing(what)?;
    replace::write(Path::new(FIRST_BOOT), b"", Rights::root(0o644)).while_doing(what)
}

fn hosts(config: &GuestConfig) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for line in &config.hosts {
        text.push_str(&format!("{} {}\n", line.address, line.names.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use banger_guest::config::HostsLine;

    #[test]
    fn the_hosts_file_has_localhost_and_the_lines_given() {
        let mut config = GuestConfig::new("calm-otter", &"0".repeat(32), "/dev/vda");
        config.hosts = vec![HostsLine {
            address: [127, 0, 1, 1].into(),
            names: vec!["calm-otter.vm".into(), "calm-otter".into()],
        }];
        let text = hosts(&config);
        assert!(text.starts_with("127.0.0.1 localhost\n"));
        assert!(text.ends_with("\n127.0.1.1 calm-otter.vm calm-otter\n"));
    }
}
