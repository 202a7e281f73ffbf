//! The network of a cloud image, such as Ubuntu's: its netplan describes the machine that it came from.
//!
//! The interface is set up before the image's init starts. systemd-networkd, which netplan starts, would
//! ask for other addresses, and the boot would wait two minutes for them. So it leaves the interface
//! alone, while other interfaces that a user adds to netplan are its own.

use std::fs;
use std::path::Path;

use crate::failure::{Context as _, Result};
use crate::system::replace::{self, Rights, make_directory};

/// The settings of netplan.
const NETPLAN: &str = "etc/netplan";

/// What systemd-networkd reads first, and what its wait at boot reads last.
const WRITTEN: [(&str, &str, &str); 2] = [
    (
        "run/systemd/network",
        "00-banger.network",
        "[Match]\nName=eth*\n\n[Link]\nUnmanaged=yes\n",
    ),
    (
        "run/systemd/system/systemd-networkd-wait-online.service.d",
        "zz-banger.conf",
        "[Service]\nExecStart=\nExecStart=/bin/true\n",
    ),
];

/// Keeps netplan from the interface, if the image below `root` has some of its settings.
pub(crate) fn keep_away(root: &Path) -> Result<()> {
    if !is_used(root) {
        return Ok(());
    }
    for (folder, name, text) in WRITTEN {
        let folder = root.join(folder);
        let what = || format!("write `{name}` into `{}`", folder.display());
        make_directory(&folder, 0o755).while_doing(what)?;
        replace::write(&folder.join(name), text.as_bytes(), Rights::root(0o644))
            .while_doing(what)?;
    }
    Ok(())
}

fn is_used(root: &Path) -> bool {
    let Ok(entries) = fs::read_dir(root.join(NETPLAN)) else {
        return false;
    };
    let is_setting = |entry: fs::DirEntry| entry.path().extension().is_some_and(|it| it == "yaml");
    entries.flatten().any(is_setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_with_settings_of_netplan_is_kept_from_its_interface() {
        let root = tempfile::tempdir().unwrap();
        keep_away(root.path()).unwrap();
        fs::create_dir_all(root.path().join(NETPLAN)).unwrap();
        keep_away(root.path()).unwrap();
        assert!(!root.path().join("run").exists());
        let setting = root.path().join(NETPLAN).join("50-cloud-init.yaml");
        fs::write(setting, "network: {version: 2}").unwrap();
        keep_away(root.path()).unwrap();
        for (folder, name, text) in WRITTEN {
            let path = root.path().join(folder).join(name);
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
    }
}
