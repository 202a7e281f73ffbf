//! A rescue: a shell on the console instead of a start, for a guest that cannot start.

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, unmount};

use super::{mounts, root};
use crate::failure::{Context as _, Failure, Result};
use crate::system::replace::make_directory;
use crate::system::{console, enter};

fn welcome(device: &str) -> String {
    format!(
        "\r\nbanger: rescue: a shell of the guest's own, with `/` read-only.\r\n\
         banger: rescue: `e2fsck {device}` repairs it, `mount -o remount,rw /` makes it writable.\r\n\
         banger: rescue: `exit` ends the rescue, and the VM with it.\r\n"
    )
}

/// Runs the shell until it ends.
pub(crate) fn run(device: &str) -> Result<()> {
    make_directory(std::path::Path::new(root::NEW_ROOT), 0o755)
        .while_doing(|| "make a mount point for the root disk".to_owned())?;
    // The second try does not replay the journal, which may be what fails.
    let try_mount = |options| mount(device, root::NEW_ROOT, "ext4", MountFlags::RDONLY, options);
    try_mount(None)
        .or_else(|_| try_mount(Some(c"noload")))
        .while_doing(|| format!("mount `{device}` read-only"))?;
    for at in mounts::KERNEL {
        let there = format!("{}{at}", root::NEW_ROOT);
        if let Err(cause) = mount_bind_recursive(at, there.as_str()) {
            console::warn(&format!("mount `{there}`: {cause}"));
        }
    }
    let streams = enter::ourselves().args(["streams", root::NEW_ROOT]).spawn();
    if let Err(cause) = &streams {
        console::warn(&format!("commands of the host are not served: {cause}"));
    }
    console::say(&welcome(device));
    let status = enter::ourselves()
        .args(["shell", root::NEW_ROOT])
        .status()
        .while_doing(|| "run a shell".to_owned())?;
    if let Ok(mut streams) = streams {
        // Its commands end with the machine.
        let _ = streams.kill();
    }
    rustix::fs::sync();
    let _ = unmount(root::NEW_ROOT, UnmountFlags::DETACH);
    if status.code() == Some(127) {
        return Err(Failure::new("the image has no `/bin/sh`"));
    }
    console::say(&banger_guest::end::end_line(
        banger_guest::end::Verb::Poweroff,
    ));
    Ok(())
}
