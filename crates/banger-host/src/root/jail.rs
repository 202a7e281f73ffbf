//! Makes the jail of one machine, from within its unit, and enters it.
//!
//! ```text
//! /run/banger/jail/               a tmpfs, in a mount namespace of this process alone
//!   firecracker/<machine>/root/   what Firecracker sees as `/`
//!     firecracker                 a copy, which the jailer makes, as it does `dev/kvm` …
//!     dev/banger/<machine>        another node of its root disk, where that is a block device
//!     machine/                    the machine's folder, in which the user's files are the VM's
//! ```
//!
//! The host does not see these mounts, so all of them end with the process. The sockets and logs
//! that Firecracker creates in `machine` belong to the user, in the machine's folder.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change,
    move_mount, open_tree,
};
use rustix::thread::UnshareFlags;

use super::jailed::{JailReply, Order};
use super::message::layers_of;
use super::wire::{Received, Wire, understand};
use super::{PROGRAMS, RUN, confine, links, need_root};
use crate::linux::{node, snapshot_node, sys};
use crate::{Error, JAILED_FOLDER, Kind, Owner, Result};

/// The options of the jail's tmpfs, which holds a copy of Firecracker beside the machine's folder.
const SIZE: &str = "mode=0711,size=64m,nr_inodes=1k";

/// The name of the serial port's input, in the machine's folder.
const INPUT: &str = "console.in";

/// Makes the jail that the order on standard input describes, and executes the jailer in it.
///
/// # Errors
/// If the jail cannot be made, or the jailer does not start. The caller gets the same error.
pub fn jail() -> Result<()> {
    need_root()?;
    confine::check_own_file()?;
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|cause| Error::io("use the standard input", cause))?;
    let mut wire = Wire::new(socket);
    // The order must come from root.
    if wire.peer()? != 0 {
        return Err(Error::new(Kind::Denied, "only root can make a jail"));
    }
    let (order, folder) = receive(&mut wire)?;
    let made = make(&order, &folder);
    let answer = match &made {
        Ok(()) => JailReply::Ready(std::process::id()),
        Err(error) => JailReply::Error(layers_of(error)),
    };
    wire.say(&answer, &[])
        .map_err(|cause| Error::io("answer", cause.into()))?;
    made?;
    let input = input(&folder, order.uid)?;
    drop((wire, folder));
    Err(become_jailer(&order, input))
}

/// The FIFO that the user's daemon has made in the folder for the machine's serial port, open in
/// both directions, so that it has no end of file. Without the FIFO the input is empty.
fn input(folder: &OwnedFd, uid: u32) -> Result<File> {
    let flags =
        OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let found = rustix::fs::openat(folder, INPUT, flags, Mode::empty()).map(File::from);
    let is_ours = |file: &File| {
        let found = file.metadata();
        found.is_ok_and(|it| it.file_type().is_fifo() && it.uid() == uid)
    };
    match found.ok().filter(is_ours) {
        Some(file) => Ok(file),
        None => File::open("/dev/null").map_err(|cause| Error::io("open `/dev/null`", cause)),
    }
}

fn receive(wire: &mut Wire) -> Result<(Order, OwnedFd)> {
    let wrong = || {
        Error::new(
            Kind::Other,
            "the standard input does not describe a machine",
        )
    };
    match wire.receive() {
        Ok(Received::Message(bytes, descriptors)) => {
            let [folder] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| wrong())?;
            Ok((understand(&bytes)?, folder))
        }
        Ok(Received::Refused(_) | Received::End | Received::Nothing) | Err(_) => Err(wrong()),
    }
}

/// The folder of the jails in this mount namespace.
fn base() -> PathBuf {
    Path::new(RUN).join("jail")
}

fn program(name: &str) -> PathBuf {
    Path::new(PROGRAMS).join(name)
}

fn make(order: &Order, folder: &OwnedFd) -> Result<()> {
    for name in ["jailer", "firecracker"] {
        confine::check_file(&program(name))
            .map_err(|error| error.hint("banger system install --firecracker … --jailer …"))?;
    }
    let (disk, seen) = (
        Owner {
            uid: order.uid,
            gid: order.gid,
        },
        Owner {
            uid: order.jailed.uid,
            gid: order.jailed.uid,
        },
    );
    links::check(folder)?;
    let base = base();
    folders(&base)?;
    lay_out(&base, &order.jailed.name, folder, disk, seen)?;
    let device = snapshot_node(&order.jailed.name);
    let Ok(found) = fs::symlink_metadata(&device) else {
        return Ok(());
    };
    if !found.file_type().is_block_device() {
        return Ok(());
    }
    let root = root(&base, &order.jailed.name);
    let path = root.join(device.strip_prefix("/").unwrap_or(&device));
    let parent = path.parent().unwrap_or(&root);
    folders(parent)?;
    // The VM's user passes through it, so the mode must not depend on our mask.
    fs::set_permissions(parent, Permissions::from_mode(0o711))
        .map_err(|cause| Error::io("open the folder of its disk's node", cause))?;
    node::put(&path, found.rdev(), seen).map(drop)
}

/// The path that the jailer derives from its arguments.
fn root(base: &Path, name: &str) -> PathBuf {
    base.join("firecracker").join(name).join("root")
}

fn folders(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| Error::io(format!("make `{}`", path.display()), cause))
}

/// Enters a new mount namespace, and mounts the folder in a jail below `base`.
pub(super) fn lay_out(
    base: &Path,
    name: &str,
    folder: &OwnedFd,
    disk: Owner,
    seen: Owner,
) -> Result<()> {
    let map_io_error = |shown: &'static str| {
        move |cause: rustix::io::Errno| Error::io(shown, std::io::Error::from(cause))
    };
    // A mount can be cloned only in its own namespace, so this precedes the new one.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(folder, "", flags).map_err(map_io_error("mount the machine's folder"))?;
    sys::show_as(&tree, disk, seen).map_err(|cause| {
        Error::io("show the machine's files as the VM's", cause).hint(
            "the state directory must be on ext4, xfs or btrfs, and Linux 5.12 or later: findmnt --target ~/.local/state/banger",
        )
    })?;
    sys::unshare(UnshareFlags::NEWNS).map_err(map_io_error("leave the host's mounts"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(map_io_error("leave the host's mounts"))?;
    let options = std::ffi::CString::new(SIZE).unwrap_or_default();
    mount(
        "tmpfs",
        base,
        "tmpfs",
        MountFlags::NOSUID,
        options.as_c_str(),
    )
    .map_err(map_io_error("mount the jail"))?;
    let inside = root(base, name).join(JAILED_FOLDER);
    folders(&inside)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, "", CWD, &inside, flags)
        .map_err(map_io_error("put the machine's folder into the jail"))
}

/// The jailer's arguments; it passes those after `--` to Firecracker.
fn arguments(order: &Order, base: &Path) -> Vec<String> {
    let inside = |name: &str| format!("{JAILED_FOLDER}/{name}");
    [
        "--id".to_owned(),
        order.jailed.name.clone(),
        "--exec-file".to_owned(),
        program("firecracker").display().to_string(),
        "--uid".to_owned(),
        order.jailed.uid.to_string(),
        "--gid".to_owned(),
        order.jailed.uid.to_string(),
        "--chroot-base-dir".to_owned(),
        base.display().to_string(),
        "--".to_owned(),
        "--api-sock".to_owned(),
        inside("firecracker.sock"),
        "--log-path".to_owned(),
        inside("hypervisor.log"),
        "--level".to_owned(),
        "Info".to_owned(),
        "--show-level".to_owned(),
        "--metrics-path".to_owned(),
        inside("metrics.json"),
    ]
    .to_vec()
}

/// Executes the jailer; returns only on failure.
#[expect(
    clippy::disallowed_methods,
    reason = "this process becomes the jailer, and starts nothing"
)]
fn become_jailer(order: &Order, input: File) -> Error {
    let cause = Command::new(program("jailer"))
        .args(arguments(order, &base()))
        .env_clear()
        .stdin(input)
        .exec();
    Error::io("execute the jailer", cause)
}
