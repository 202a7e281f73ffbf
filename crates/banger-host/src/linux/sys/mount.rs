//! A mount that shows one user's files as another's (mount_setattr(2), "ID-mapped mounts").

use std::fs::File;
use std::io::{Error, Result, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use linux_raw_sys::general::{
    __NR_mount_setattr, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID,
    mount_attr,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::UnshareFlags;

use crate::Owner;

/// `AT_EMPTY_PATH` of linux/fcntl.h.
const EMPTY_PATH: std::ffi::c_uint = 0x1000;

unsafe extern "C" {
    // fork(2) and _exit(2) of the C library that the standard library links already.
    fn fork() -> i32;
    fn _exit(status: i32) -> !;
}

/// Shows the files of `disk` on this detached mount as those of `seen`, and the files of others as
/// nobody's. Disables devices, programs and set-user-id on the mount.
pub(crate) fn show_as(mount: impl AsFd, disk: Owner, seen: Owner) -> Result<()> {
    let namespace = namespace(disk, seen)?;
    let bits = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let wanted = mount_attr {
        attr_set: bits.into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).map_err(Error::other)?,
    };
    let number = std::ffi::c_long::from(__NR_mount_setattr);
    // SAFETY: mount_setattr(2) reads the terminated empty path and `size_of::<mount_attr>()` bytes
    // of `wanted`, both of which live until it returns.
    let done = unsafe {
        super::syscall(
            number,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            EMPTY_PATH,
            std::ptr::from_ref(&wanted),
            size_of::<mount_attr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

/// A user namespace with this one pair of users and of groups. It needs a process only while it is
/// created.
fn namespace(disk: Owner, seen: Owner) -> Result<OwnedFd> {
    let (receiver, sender) = pipe_with(PipeFlags::CLOEXEC)?;
    let (held, hold) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: the child makes system calls only, and ends without unwinding or destructors.
    let child = unsafe { fork() };
    if child == 0 {
        drop(hold);
        let made = super::unshare(UnshareFlags::NEWUSER).is_ok();
        let _ = rustix::io::write(&sender, &[u8::from(made)]);
        // The read returns when our parent closes its end.
        let _ = rustix::io::read(&held, &mut [0]);
        // SAFETY: _exit(2) does not return, and runs no code of this process.
        unsafe { _exit(0) }
    }
    let pid = Pid::from_raw(child).filter(|_| child > 0);
    let pid = pid.ok_or_else(Error::last_os_error)?;
    drop((sender, held));
    let namespace = fill(pid, &receiver, disk, seen);
    drop(hold);
    waitpid(Some(pid), WaitOptions::empty())?;
    namespace
}

fn fill(pid: Pid, receiver: &OwnedFd, disk: Owner, seen: Owner) -> Result<OwnedFd> {
    let mut made = [0];
    rustix::io::read(receiver, &mut made)?;
    if made != [1] {
        return Err(Error::other("the kernel does not create a user namespace"));
    }
    let folder = format!("/proc/{}", pid.as_raw_nonzero());
    for (name, inside, outside) in [
        ("uid_map", disk.uid, seen.uid),
        ("gid_map", disk.gid, seen.gid),
    ] {
        let mut file = File::options()
            .write(true)
            .open(format!("{folder}/{name}"))?;
        // The kernel accepts the map in a single write only; user_namespaces(7).
        file.write_all(format!("{inside} {outside} 1\n").as_bytes())?;
    }
    Ok(File::open(format!("{folder}/ns/user"))?.into())
}
