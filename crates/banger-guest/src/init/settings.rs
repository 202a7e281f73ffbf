//! The machine's own settings: its host name, machine-id and resolvers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use banger_guest::config::GuestConfig;

use crate::boot_record::RESOLV_CONF;
use crate::failure::{Context as _, Failure, Result};
use crate::system::replace::{self, Rights};
use crate::system::{host_name, resolvers};

/// Writes the settings; returns the failures.
pub(crate) fn write(config: &GuestConfig) -> Vec<Failure> {
    let steps = [
        set_host_name(&config.hostname),
        write_machine_id(Path::new("/etc/machine-id"), config),
        write_resolvers(config),
        link_resolvers(Path::new("/etc/resolv.conf")),
    ];
    steps.into_iter().filter_map(Result::err).collect()
}

fn set_host_name(name: &str) -> Result<()> {
    host_name::set(name).while_doing(|| "set the host name".to_owned())
}

/// Writes the machine-id before the image's init starts, which would generate one. An existing id
/// stays, unless it is that of this clone's original.
fn write_machine_id(path: &Path, config: &GuestConfig) -> Result<()> {
    let found = fs::read_to_string(path).unwrap_or_default();
    let found = found.trim();
    let is_former = config.former_machine_ids.iter().any(|id| id == found);
    if !is_former && !matches!(found, "" | "uninitialized") {
        return Ok(());
    }
    let id = format!("{}\n", config.machine_id);
    replace::write(path, id.as_bytes(), Rights::root(0o444))
        .while_doing(|| format!("write `{}`", path.display()))
}

fn write_resolvers(config: &GuestConfig) -> Result<()> {
    resolvers::write(&config.dns)
        .map(drop)
        .while_doing(|| format!("write `{RESOLV_CONF}`"))
}

/// The known targets in `/run` of a link: the path, the program, and its unit if that writes the
/// file.
const LINKED: [(&str, &str, Option<&str>); 2] = [
    (
        "/run/systemd/resolve",
        "/usr/lib/systemd/systemd-resolved",
        Some("/etc/systemd/system/systemd-resolved.service"),
    ),
    ("/run/resolvconf", "/usr/sbin/resolvconf", None),
];

/// Links `/etc/resolv.conf` to banger's file if its content is empty, or if its target will never
/// exist, because the package is removed or the unit is masked.
fn link_resolvers(path: &Path) -> Result<()> {
    let what = || format!("link `{}` to `{RESOLV_CONF}`", path.display());
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && !is_orphan(path, &LINKED) => return Ok(()),
        Ok(found) if found.is_file() && found.len() > 0 => return Ok(()),
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path).while_doing(what)?,
        Err(_) => {}
    }
    symlink(RESOLV_CONF, path).while_doing(what)
}

/// Whether a link leads to the file of one of these programs, which is missing, or whose unit is
/// masked.
fn is_orphan(link: &Path, linked: &[(&str, &str, Option<&str>)]) -> bool {
    let is_masked = |unit: &str| fs::read_link(unit).is_ok_and(|it| it == Path::new("/dev/null"));
    linked.iter().any(|&(folder, program, unit)| {
        resolvers::leads_below(link, folder)
            && (!Path::new(program).exists() || unit.is_some_and(is_masked))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        link_resolvers(&path).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new(RESOLV_CONF));
        link_resolvers(&path).unwrap();

        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        link_resolvers(&path).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new(RESOLV_CONF));

        fs::remove_file(&path).unwrap();
        fs::write(&path, "nameserver 9.9.9.9\n").unwrap();
        link_resolvers(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "nameserver 9.9.9.9\n");

        fs::remove_file(&path).unwrap();
        symlink("/run/somebody/resolv.conf", &path).unwrap();
        link_resolvers(&path).unwrap();
        assert!(fs::read_link(&path).unwrap().starts_with("/run/somebody"));
    }

    #[test]
    fn a_clone_gets_a_machine_id_of_its_own_and_one_that_somebody_chose_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine-id");
        let (own, former, chosen) = ("a".repeat(32), "b".repeat(32), "c".repeat(32));
        let mut config = GuestConfig::new("web", &own, "/dev/vda");
        config.former_machine_ids = vec![former.clone()];
        for (found, expected) in [
            ("", &own),
            ("uninitialized\n", &own),
            (&former, &own),
            (&chosen, &chosen),
        ] {
            fs::write(&path, found).unwrap();
            write_machine_id(&path, &config).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap().trim(), expected);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_link_to_an_undefined_symbol_is_an_orphan() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (program, unit, link) = (at("resolved"), at("unit"), at("resolv.conf"));
        symlink("../run/systemd/resolve/stub-resolv.conf", &link).unwrap();
        let linked = [("/run/systemd/resolve", &*program, Some(&*unit))];
        let link = Path::new(&link);
        assert!(is_orphan(link, &linked), "the package is not there");
        fs::write(&program, "").unwrap();
        assert!(!is_orphan(link, &linked));
        symlink("/dev/null", &unit).unwrap();
        assert!(is_orphan(link, &linked), "the unit is masked");
        assert!(!is_orphan(link, &[("/run/resolvconf", &*program, None)]));
    }
}
