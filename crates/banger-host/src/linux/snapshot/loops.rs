//! Loop devices: one for the base, shared by all snapshots over it, and one for each store.
//!
//! Each loop device is removed with its last user (`LO_FLAGS_AUTOCLEAR`). That is device-mapper, or
//! the open file here until a table is loaded. So none can be left behind.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use linux_raw_sys::loop_device::{LO_FLAGS_AUTOCLEAR, LO_FLAGS_READ_ONLY, loop_info64};
use rustix::io::Errno;

use crate::linux::context::During as _;
use crate::linux::files::absent;
use crate::linux::sys::block::{
    LoopConfiguration, configure_loop, free_loop, loop_status, stretch_loop,
};
use crate::{Error, Kind, Result};

const CONTROL: &str = "/dev/loop-control";

/// The name of every base's loop device; a store's has the name of its snapshot.
const BASE: &str = "banger-1-base";

/// The number of times that another program may take the free device first.
const TRIES: u32 = 64;

/// A loop device that exists at least while this is open.
#[derive(Debug)]
pub(super) struct Loop {
    device: File,
    /// Its device number.
    pub(super) number: u64,
}

/// The backing file of a loop device, and its flags.
struct LoopSpec<'a> {
    file: &'a File,
    name: &'a str,
    read_only: bool,
}

impl LoopSpec<'_> {
    fn flags(&self) -> u32 {
        let read_only = if self.read_only {
            LO_FLAGS_READ_ONLY as u32
        } else {
            0
        };
        LO_FLAGS_AUTOCLEAR as u32 | read_only
    }

    /// Whether a loop device with this status is the one.
    fn is(&self, status: &loop_info64) -> std::io::Result<bool> {
        let file = self.file.metadata()?;
        let mut name = [0; 64];
        name[..self.name.len()].copy_from_slice(self.name.as_bytes());
        let mask = LO_FLAGS_AUTOCLEAR as u32 | LO_FLAGS_READ_ONLY as u32;
        Ok(
            (status.lo_device, status.lo_inode) == (file.dev(), file.ino())
                && (status.lo_offset, status.lo_sizelimit) == (0, 0)
                && status.lo_flags & mask == self.flags()
                && status.lo_file_name == name,
        )
    }
}

/// The read-only loop device of this base, either the existing one or a new one.
pub(super) fn of_base(base: &File) -> Result<Loop> {
    find_or_make(&LoopSpec {
        file: base,
        name: BASE,
        read_only: true,
    })
    .map_err(|error| error.within("put a loop device over the base"))
}

/// The loop device of this store.
pub(super) fn of_store(store: &File, name: &str) -> Result<Loop> {
    let found = find_or_make(&LoopSpec {
        file: store,
        name,
        read_only: false,
    })
    .and_then(|found| {
        // The file may have grown since the device was made.
        stretch_loop(&found.device).during(|| "make it as long as its file".to_owned())?;
        Ok(found)
    });
    found.map_err(|error| error.within("put a loop device over the store"))
}

/// The device and inode of the file behind the loop device with this number, if there is one.
pub(super) fn behind(number: u64) -> Option<(u64, u64)> {
    let minor = rustix::fs::minor(number);
    let device = File::open(format!("/dev/loop{minor}")).ok()?;
    if device.metadata().ok()?.rdev() != number {
        return None;
    }
    let status = loop_status(&device).ok()?;
    Some((status.lo_device, status.lo_inode))
}

fn find_or_make(wanted: &LoopSpec<'_>) -> Result<Loop> {
    match find(wanted)? {
        Some(found) => Ok(found),
        None => make(wanted),
    }
}

fn find(wanted: &LoopSpec<'_>) -> Result<Option<Loop>> {
    let describe = || "find a loop device".to_owned();
    let Some(entries) = absent(std::fs::read_dir("/sys/block")).during(describe)? else {
        return Ok(None);
    };
    for entry in entries {
        let name = entry.during(describe)?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("loop") || !goes_with_its_last_user(&name) {
            continue;
        }
        // It may be removed at any moment, and another program's device may not open.
        let device = File::options()
            .read(true)
            .write(!wanted.read_only)
            .open(format!("/dev/{name}"));
        let Ok(device) = device else { continue };
        // While it is open, it is not removed.
        let Ok(status) = loop_status(&device) else {
            continue;
        };
        if wanted.is(&status).during(describe)? {
            return held(device).map(Some);
        }
    }
    Ok(None)
}

/// Whether this loop device has a file and the autoclear flag, as all of banger's do.
fn goes_with_its_last_user(name: &str) -> bool {
    let flag = std::fs::read_to_string(format!("/sys/block/{name}/loop/autoclear"));
    flag.is_ok_and(|flag| flag.trim() == "1")
}

fn held(device: File) -> Result<Loop> {
    let number = device
        .metadata()
        .during(|| "examine a loop device".to_owned())?
        .rdev();
    Ok(Loop { device, number })
}

fn make(wanted: &LoopSpec<'_>) -> Result<Loop> {
    let control = open_control()?;
    for _ in 0..TRIES {
        let number = free_loop(&control).during(|| "ask for a free loop device".to_owned())?;
        let path = format!("/dev/loop{number}");
        let device = File::options()
            .read(true)
            .write(!wanted.read_only)
            .open(&path)
            .during(|| format!("open `{path}`"))?;
        let configuration = LoopConfiguration {
            file: wanted.file,
            flags: wanted.flags(),
            name: wanted.name,
        };
        match configure_loop(&device, configuration) {
            Ok(()) => return held(device),
            // Another program took it first.
            Err(Errno::BUSY | Errno::NXIO) => {}
            Err(error) => return Err(error).during(|| format!("put a file behind `{path}`")),
        }
    }
    Err(Error::new(
        Kind::Busy,
        format!("other programs took {TRIES} loop devices before us"),
    )
    .hint("see who uses them: losetup --list"))
}

fn open_control() -> Result<File> {
    let opened = File::options().read(true).write(true).open(CONTROL);
    opened
        .during(|| format!("open `{CONTROL}`"))
        .map_err(|error| match error.kind() {
            Kind::Missing => error.hint("sudo modprobe loop"),
            _ => error,
        })
}

/// Checks that loop devices are available.
pub(super) fn attempt() -> Result<()> {
    open_control().map(drop)
}
