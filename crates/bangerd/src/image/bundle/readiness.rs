//! What building a bundle or an image needs, as `doctor` shows it. VMs run without it.

use std::path::Path;

use banger_api::Fix;
use banger_host::{Finding, Host, Probe};

use super::requirements;
use crate::readiness::Check;

/// What the checks are for.
const SECTION: &str = "image builds";

/// The least free space for a build, in MiB: the tree, its file system and the archives of packages.
const LEAST_SPACE: u64 = 8192;

/// Where Debian and its relatives keep the certificate authorities of the system.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The checks, for a build whose result is put below `state`.
#[must_use]
pub(crate) fn readiness(state: &Path) -> Vec<Check> {
    let unshare = !rustix::process::geteuid().is_root();
    let tools = Check::new("build tools", move |_| match requirements::check(unshare) {
        Ok(()) => Finding::Good("mmdebstrap and all that it needs".to_owned()),
        Err(error) => Finding::Bad {
            found: crate::error::chain(&error),
            hint: error.hints.join("\n"),
        },
    })
    .fixed_by(move |_| {
        let missing = requirements::missing(unshare);
        (!missing.is_empty()).then(|| Fix::install(&missing))
    });
    let space = Probe::Space {
        directory: state.to_owned(),
        least_mib: LEAST_SPACE,
    };
    let authorities = Check::new("build certificates", authorities)
        .fixed_by(|_| Some(Fix::install(&["ca-certificates"])));
    [tools, Check::probe("build space", space), authorities]
        .map(|check| check.only_warns().of_section(SECTION))
        .into()
}

fn authorities(host: &dyn Host) -> Finding {
    match host.stat(AUTHORITIES.as_ref()) {
        Ok(Some(stat)) if stat.length > 0 => Finding::Good(AUTHORITIES.to_owned()),
        _ => Finding::Bad {
            found: format!("there is no `{AUTHORITIES}`, which is needed to trust servers"),
            hint: "sudo apt-get install ca-certificates".to_owned(),
        },
    }
}
