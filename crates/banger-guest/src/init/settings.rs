//! The machine's own settings: its name, its machine id and its resolvers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use banger_guest::config::GuestConfig;

use crate::boot_record::RESOLV_CONF;
use crate::failure::{Failure, Result, While as _};
use crate::system::replace::{self, Rights};

/// Writes them; the answer is what could not be written.
pub(crate) fn write(config: &GuestConfig) -> Vec<Failure> {
    let steps = [
        set_host_name(&config.hostname),
        write_machine_id(Path::new("/etc/machine-id"), &config.machine_id),
        write_resolvers(config),
        link_resolvers(Path::new("/etc/resolv.conf")),
    ];
    steps.into_iter().filter_map(Result::err).collect()
}

fn set_host_name(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).while_doing(|| "set the host name".to_owned())
}

/// Before the image's init starts, which would make up one of its own.
fn write_machine_id(path: &Path, id: &str) -> Result<()> {
    let found = fs::read_to_string(path).unwrap_or_default();
    if !matches!(found.trim(), "" | "uninitialized") {
        return Ok(());
    }
    replace::write(path, format!("{id}\n").as_bytes(), Rights::root(0o444))
        .while_doing(|| format!("write `{}`", path.display()))
}

fn write_resolvers(config: &GuestConfig) -> Result<()> {
    let text = config.dns.resolv_conf();
    replace::write(Path::new(RESOLV_CONF), text.as_bytes(), Rights::root(0o644))
        .while_doing(|| format!("write `{RESOLV_CONF}`"))
}

/// Makes `/etc/resolv.conf` ours where nobody has said anything in it.
fn link_resolvers(path: &Path) -> Result<()> {
    let what = || format!("link `{}` to `{RESOLV_CONF}`", path.display());
    match fs::symlink_metadata(path) {
        // A link is ours, or somebody's who knows why.
        Ok(found) if !found.is_file() || found.len() > 0 => return Ok(()),
        Ok(_) => fs::remove_file(path).while_doing(what)?,
        Err(_) => {}
    }
    symlink(RESOLV_CONF, path).while_doing(what)
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
        symlink("/run/systemd/resolve/stub-resolv.conf", &path).unwrap();
        link_resolvers(&path).unwrap();
        assert!(fs::read_link(&path).unwrap().ends_with("stub-resolv.conf"));
    }
}
