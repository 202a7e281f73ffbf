//! The abilities of this host, each tested in practice, with a finding and a hint.

mod binary;
mod firewalls;
pub(crate) mod jail;
mod kvm;
mod port;
mod program;
mod reflink;
mod scopes;
mod snapshot;
mod subnet;

use std::path::Path;

use super::{Linux, firewall, tap};
use crate::command::Command;
use crate::{Finding, Kind, Look as _, Probe};

/// Look::probe.
pub(super) fn probe(host: &Linux, probe: &Probe) -> Finding {
    match probe {
        Probe::Kvm => kvm::probe(),
        Probe::Program {
            name,
            version_argument,
            least,
            package,
        } => program::probe(name, version_argument, *least, package),
        Probe::Binary {
            path,
            version_argument,
            least,
            why,
            hint,
        } => binary::probe(path, version_argument, *least, why, hint),
        Probe::Network => network(),
        Probe::Snapshot => snapshot::probe(),
        Probe::Reflink { directory } => reflink::probe(directory),
        Probe::SubnetFree { subnet, tap_prefix } => subnet::probe(*subnet, tap_prefix),
        Probe::ForwardedPackets { tap_prefix } => firewalls::probe(tap_prefix),
        Probe::Port { address } => port::probe(*address),
        Probe::Jail {
            directory,
            firecracker,
            jailer,
        } => jail::probe(directory, firecracker, jailer),
        Probe::Scopes => scopes::probe(),
        Probe::Space {
            directory,
            least_mib,
        } => space(host, directory, *least_mib),
    }
}

fn good(found: impl Into<String>) -> Finding {
    Finding::Good(found.into())
}

fn doubtful(found: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding::Doubtful {
        found: found.into(),
        hint: hint.into(),
    }
}

fn bad(found: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding::Bad {
        found: found.into(),
        hint: hint.into(),
    }
}

/// An error and its causes, in one line.
pub(crate) fn in_one_line(error: &crate::Error) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

#[cfg(test)]
pub(super) fn reflink(directory: &Path) -> Finding {
    reflink::probe(directory)
}

#[cfg(test)]
pub(super) fn other_firewalls(tap_prefix: &str) -> Finding {
    firewalls::probe(tap_prefix)
}

/// Makes a temporary TAP, and lists the firewall, which needs the same privilege as changing it.
fn network() -> Finding {
    let trouble = |error: &crate::Error, what: &str| {
        let found = match error.kind() {
            Kind::Denied => {
                format!("no permission to create a {what}: VMs get QEMU's user networking")
            }
            _ => in_one_line(error),
        };
        let hint = match error.kind() {
            Kind::Denied => "banger system install".to_owned(),
            _ => error
                .hints()
                .into_iter()
                .next()
                .unwrap_or_else(|| "ls -l /dev/net/tun".to_owned()),
        };
        bad(found, hint)
    };
    let takes_programs = match tap::try_one(&format!("bgprobe{}", std::process::id())) {
        Ok(takes) => takes,
        Err(error) => return trouble(&error, "TAP"),
    };
    match firewall::nft(&Command::new("nft").args(["list", "tables"])) {
        Ok(_) if takes_programs => good("a TAP and an nft table can be created"),
        Ok(_) => doubtful(
            "a TAP and an nft table can be created; the kernel lacks clsact or cls_bpf, so guests are \
             not confined if someone flushes the table while no daemon runs",
            "sudo modprobe -a sch_ingress cls_bpf",
        ),
        Err(error) => trouble(&error, "nft table"),
    }
}

fn space(host: &Linux, directory: &Path, least_mib: u64) -> Finding {
    let shown = directory.display();
    match host.free_mib(directory) {
        Ok(free) if free >= least_mib => good(format!("{free} MiB are free for `{shown}`")),
        Ok(free) => bad(
            format!("{free} MiB are free for `{shown}`, and {least_mib} MiB are needed"),
            format!(
                "make room on that file system: df -h {}",
                existing(directory).display()
            ),
        ),
        Err(error) => bad(in_one_line(&error), format!("ls -ld {shown}")),
    }
}

/// The directory, or its nearest ancestor that exists.
pub(crate) fn existing(directory: &Path) -> &Path {
    directory
        .ancestors()
        .find(|it| it.is_dir())
        .unwrap_or(Path::new("/"))
}
