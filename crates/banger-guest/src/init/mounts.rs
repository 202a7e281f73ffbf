//! The kernel's own file systems.

use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::failure::{Context as _, Result};
use crate::system::replace::make_directory;

/// The file systems that move to the root disk, in the order of mounting.
pub(crate) const KERNEL: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

fn mount_at(kind: &str, at: &str, flags: MountFlags, options: &str) -> Result<()> {
    let what = || format!("mount `{at}`");
    make_directory(Path::new(at), 0o755).while_doing(what)?;
    let options = std::ffi::CString::new(options).while_doing(what)?;
    match mount(kind, at, kind, flags, options.as_c_str()) {
        // Some kernels mount /dev themselves.
        Err(Errno::BUSY) => Ok(()),
        done => done.while_doing(what),
    }
}

/// Mounts them. `/run` is not `noexec`, because it contains the agent.
pub(crate) fn kernel_file_systems() -> Result<()> {
    let strict = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let devices = MountFlags::NOSUID;
    let run = MountFlags::NOSUID | MountFlags::NODEV;
    mount_at("proc", "/proc", strict, "")?;
    mount_at("sysfs", "/sys", strict, "")?;
    mount_at("devtmpfs", "/dev", devices, "mode=0755")?;
    mount_at("tmpfs", "/run", run, "mode=0755,size=20%")
}

/// Mounts file systems that programs look for, and that systemd would start a process each to
/// mount: message queues, huge pages, and those of debuggers and tracers. A kernel may lack any of
/// them.
pub(crate) fn for_programs() {
    let strict = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    for (kind, at, flags, options) in [
        ("mqueue", "/dev/mqueue", strict, ""),
        ("hugetlbfs", "/dev/hugepages", plain, ""),
        ("debugfs", "/sys/kernel/debug", strict, ""),
        ("tracefs", "/sys/kernel/tracing", strict, ""),
    ] {
        let _ = mount_at(kind, at, flags, options);
    }
}
