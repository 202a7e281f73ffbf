//! Device-mapper, by the ioctls of `/dev/mapper/control` (linux/dm-ioctl.h).
//!
//! A device is created empty, a table is loaded into it, and resuming activates the table. The
//! event for udev has a cookie whose upper half makes its rules ignore the device; the lower half
//! is zero, so that nothing waits for udev.

use std::fs::File;
use std::io;

use rustix::io::Errno;

use crate::linux::context::During as _;
use crate::linux::files::absent;
use crate::linux::sys::block::{DEVICE_MAPPER_HEADER, DeviceMapperBuffer, device_mapper};
use crate::{Error, Kind, Result};

const CONTROL: &str = "/dev/mapper/control";

/// Commands, by their position in the enumeration of linux/dm-ioctl.h.
const DEV_CREATE: u8 = 3;
const DEV_REMOVE: u8 = 4;
const DEV_SUSPEND: u8 = 6;
const DEV_STATUS: u8 = 7;
const TABLE_LOAD: u8 = 9;
const TABLE_STATUS: u8 = 12;
const GET_TARGET_VERSION: u8 = 17;

/// Flags of linux/dm-ioctl.h.
const READ_ONLY: u32 = 1 << 0;
const SUSPEND: u32 = 1 << 1;
const STATUS_TABLE: u32 = 1 << 4;
const ACTIVE_PRESENT: u32 = 1 << 5;
const INACTIVE_PRESENT: u32 = 1 << 6;
const BUFFER_FULL: u32 = 1 << 8;
const QUERY_INACTIVE: u32 = 1 << 12;
/// Skips freezing the file system on the device: only guests have one there.
const SKIP_LOCK_FS: u32 = 1 << 10;

/// `DM_UDEV_DISABLE_DM_RULES`, `…_SUBSYSTEM_RULES`, `…_DISK_RULES`, `…_OTHER_RULES` and
/// `DM_UDEV_PRIMARY_SOURCE`, which makes the rules remember the others (libdevmapper.h), in the
/// cookie's upper half.
const LEAVE_ALONE: u32 = (0x01 | 0x02 | 0x04 | 0x08 | 0x40) << 16;

/// Offsets in `struct dm_ioctl`.
const TARGET_COUNT: usize = 20;
const OPEN_COUNT: usize = 24;
const FLAGS: usize = 28;
const EVENT: usize = 32;
const DEVICE: usize = 40;
const NAME: usize = 48;
const LONGEST_NAME: usize = 127;

/// The bytes of `struct dm_target_spec`.
const SPEC: usize = 40;

/// A segment of a device, and the target behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Where it begins, in sectors of 512 bytes.
    pub(super) start: u64,
    /// Its length, in sectors.
    pub(super) length: u64,
    /// The name of its type.
    pub(super) kind: String,
    /// The parameters of its type, or its status.
    pub(super) parameters: String,
}

/// A device as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device {
    /// Its device number.
    pub(super) number: u64,
    /// The number of times that it is open.
    pub(super) open_count: u32,
    /// Whether exactly one table is in force, and running.
    pub(super) is_live: bool,
}

/// The kernel's device-mapper.
#[derive(Debug)]
pub(super) struct DeviceMapper {
    control: File,
}

/// A command's buffer.
struct Message(Box<DeviceMapperBuffer>);

impl Message {
    fn new(name: &str) -> Result<Self> {
        let mut message = Self(Box::new([0; 2048]));
        // The interface version that we use, 4.0.0; newer kernels are compatible with it.
        message.set(0, &4u32.to_le_bytes());
        message.set(16, &(DEVICE_MAPPER_HEADER as u32).to_le_bytes());
        if name.len() > LONGEST_NAME || name.contains('\0') {
            return Err(Error::new(
                Kind::Other,
                format!("`{}` is not the name of a device", name.escape_debug()),
            ));
        }
        message.set(NAME, name.as_bytes());
        Ok(message)
    }

    fn flagged(name: &str, flags: u32) -> Result<Self> {
        let mut message = Self::new(name)?;
        message.set(FLAGS, &flags.to_le_bytes());
        Ok(message)
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        for (offset, byte) in (at..).zip(bytes) {
            let (word, shift) = (offset / 8, offset % 8 * 8);
            self.0[word] = self.0[word] & !(0xff << shift) | u64::from(*byte) << shift;
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
        let mut number = [0; N];
        if let Some(from) = bytes.get(at..at + N) {
            number.copy_from_slice(from);
        }
        number
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(Self::number(&self.bytes(), at))
    }

    fn device(&self) -> Device {
        let flags = self.word(FLAGS);
        let wanted = ACTIVE_PRESENT;
        Device {
            number: u64::from_le_bytes(Self::number(&self.bytes(), DEVICE)),
            open_count: self.word(OPEN_COUNT),
            is_live: flags & (ACTIVE_PRESENT | INACTIVE_PRESENT | SUSPEND) == wanted,
        }
    }

    /// Adds a table, `struct dm_target_spec` by `struct dm_target_spec`.
    fn add(&mut self, table: &[Target]) -> Result<()> {
        let mut at = DEVICE_MAPPER_HEADER;
        for target in table {
            let text = target.parameters.len() + 1;
            let next = (SPEC + text).next_multiple_of(8);
            if at + next > size_of::<DeviceMapperBuffer>() || target.kind.len() > 15 {
                return Err(Error::new(Kind::Other, "the table is too long"));
            }
            self.set(at, &target.start.to_le_bytes());
            self.set(at + 8, &target.length.to_le_bytes());
            self.set(at + 20, &(next as u32).to_le_bytes());
            self.set(at + 24, target.kind.as_bytes());
            self.set(at + SPEC, target.parameters.as_bytes());
            at += next;
        }
        self.set(TARGET_COUNT, &(table.len() as u32).to_le_bytes());
        Ok(())
    }

    /// The table in the kernel's answer.
    fn table(&self) -> Vec<Target> {
        let bytes = self.bytes();
        let first = self.word(16) as usize;
        let mut table = Vec::new();
        let mut at = first;
        for _ in 0..self.word(TARGET_COUNT) {
            if at + SPEC > bytes.len() {
                break;
            }
            table.push(Target {
                start: u64::from_le_bytes(Self::number(&bytes, at)),
                length: u64::from_le_bytes(Self::number(&bytes, at + 8)),
                kind: text(&bytes[at + 24..at + SPEC]),
                parameters: text(&bytes[at + SPEC..]),
            });
            // In an answer, this offset counts from the first target.
            at = first + u32::from_le_bytes(Self::number(&bytes, at + 20)) as usize;
        }
        table
    }
}

/// The text before the terminating zero.
fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

impl DeviceMapper {
    /// The kernel's device-mapper, if it has one.
    pub(super) fn open() -> Result<Option<Self>> {
        let opened = File::options().read(true).write(true).open(CONTROL);
        let opened = match opened {
            // The node exists, but its module does not.
            Err(error) if matches!(error.raw_os_error(), Some(6 | 19)) => None,
            other => absent(other).during(|| format!("open `{CONTROL}`"))?,
        };
        Ok(opened.map(|control| Self { control }))
    }

    fn run(&self, command: u8, message: &mut Message) -> io::Result<()> {
        Ok(device_mapper(&self.control, command, &mut message.0)?)
    }

    /// Creates a device without a table.
    pub(super) fn create(&self, name: &str) -> Result<Device> {
        let mut message = Message::new(name)?;
        self.run(DEV_CREATE, &mut message)
            .during(|| format!("make the device `{name}`"))?;
        Ok(message.device())
    }

    /// Loads a table, which the next resume activates.
    pub(super) fn load(&self, name: &str, table: &[Target], read_only: bool) -> Result<()> {
        let mut message = Message::flagged(name, if read_only { READ_ONLY } else { 0 })?;
        message.add(table)?;
        self.run(TABLE_LOAD, &mut message)
            .during(|| format!("load the table of `{name}`"))
            .map_err(|error| error.hint("sudo dmesg | grep device-mapper"))
    }

    /// Suspends the device: pending I/O completes, and new I/O waits.
    pub(super) fn suspend(&self, name: &str) -> Result<()> {
        let mut message = Message::flagged(name, SUSPEND | SKIP_LOCK_FS)?;
        self.run(DEV_SUSPEND, &mut message)
            .during(|| format!("suspend `{name}`"))
    }

    /// Activates the loaded table, and lets I/O continue.
    pub(super) fn resume(&self, name: &str) -> Result<()> {
        let mut message = Message::flagged(name, SKIP_LOCK_FS)?;
        message.set(EVENT, &LEAVE_ALONE.to_le_bytes());
        self.run(DEV_SUSPEND, &mut message)
            .during(|| format!("resume `{name}`"))
            .map_err(|error| error.hint("sudo dmesg | grep device-mapper"))
    }

    /// Removes a device; returns whether it existed. EBUSY while it is in use.
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        let mut message = Message::new(name).map_err(io::Error::other)?;
        message.set(EVENT, &LEAVE_ALONE.to_le_bytes());
        match self.run(DEV_REMOVE, &mut message) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The state of a device, if it exists.
    pub(super) fn device(&self, name: &str) -> Result<Option<Device>> {
        let mut message = Message::new(name)?;
        match self.run(DEV_STATUS, &mut message) {
            Ok(()) => Ok(Some(message.device())),
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(None),
            Err(error) => Err(error).during(|| format!("examine the device `{name}`")),
        }
    }

    /// The active table.
    pub(super) fn table(&self, name: &str) -> Result<Vec<Target>> {
        self.ask(name, STATUS_TABLE)
    }

    /// The table that is loaded and not active yet.
    pub(super) fn loaded_table(&self, name: &str) -> Result<Vec<Target>> {
        self.ask(name, STATUS_TABLE | QUERY_INACTIVE)
    }

    /// The status of each target.
    pub(super) fn status(&self, name: &str) -> Result<Vec<Target>> {
        self.ask(name, 0)
    }

    fn ask(&self, name: &str, flags: u32) -> Result<Vec<Target>> {
        let mut message = Message::flagged(name, flags)?;
        let describe = || format!("ask for the table of `{name}`");
        self.run(TABLE_STATUS, &mut message).during(describe)?;
        if message.word(FLAGS) & BUFFER_FULL != 0 {
            return Err(Error::new(Kind::Other, "it is too long").within(describe()));
        }
        Ok(message.table())
    }

    /// The version of a target type. The kernel loads its module if necessary.
    pub(super) fn version_of(&self, kind: &str) -> Result<String> {
        let mut message = Message::new(kind)?;
        self.run(GET_TARGET_VERSION, &mut message)
            .during(|| format!("ask for the target `{kind}`"))?;
        // `struct dm_target_versions`: the offset of the next, then three numbers.
        let at = message.word(16) as usize;
        let part = |index: usize| message.word(at + 4 + 4 * index);
        Ok(format!("{}.{}.{}", part(0), part(1), part(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_put_into_the_buffer_as_the_kernel_reads_it() {
        let mut message = Message::new("banger-1-00ff-aa12bb34").unwrap();
        let target = |start, length, kind: &str, parameters: &str| Target {
            start,
            length,
            kind: kind.to_owned(),
            parameters: parameters.to_owned(),
        };
        let table = [
            target(0, 2048, "linear", "7:0 0"),
            target(2048, 4096, "zero", ""),
        ];
        message.add(&table).unwrap();
        let bytes = message.bytes();
        assert_eq!(&bytes[48..70], b"banger-1-00ff-aa12bb34");
        assert_eq!(message.word(TARGET_COUNT), 2);
        assert_eq!(
            message.word(DEVICE_MAPPER_HEADER + 20),
            48,
            "the next begins at a multiple of 8 after the text"
        );
        let second = DEVICE_MAPPER_HEADER + 48;
        assert_eq!(text(&bytes[second + 24..]), "zero");
        assert_eq!(message.word(second), 2048);
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        assert!(Message::new(&"x".repeat(128)).is_err());
        assert!(Message::new("a\0b").is_err());
    }
}
