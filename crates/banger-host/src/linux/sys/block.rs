//! The ioctls of device-mapper, of loop devices, and of the extents of a file.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use linux_raw_sys::loop_device::{
    LOOP_CONFIGURE, LOOP_CTL_GET_FREE, LOOP_GET_STATUS64, LOOP_SET_CAPACITY, loop_config,
    loop_info64,
};
use rustix::io::Errno;
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, NoArg, Opcode, Setter, Updater, ioctl, opcode};

/// The bytes of `struct dm_ioctl` in linux/dm-ioctl.h.
pub(in crate::linux) const DEVICE_MAPPER_HEADER: usize = 312;

/// `DM_IOCTL` of linux/dm-ioctl.h.
const DEVICE_MAPPER: u8 = 0xfd;

/// A `struct dm_ioctl` and its data, the input and the output of a command. It consists of words,
/// because the kernel requires their alignment.
pub(in crate::linux) type DeviceMapperBuffer = [u64; 2048];

/// A command of device-mapper.
struct DeviceMapperCommand<'a> {
    number: u8,
    buffer: &'a mut DeviceMapperBuffer,
}

// SAFETY: each command of device-mapper reads and writes `data_size` bytes from the pointer on and
// no more, and `device_mapper`, which alone makes this, has set `data_size` to the buffer's.
unsafe impl Ioctl for DeviceMapperCommand<'_> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<[u8; DEVICE_MAPPER_HEADER]>(DEVICE_MAPPER, self.number)
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        self.buffer.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut std::ffi::c_void) -> Result<(), Errno> {
        Ok(())
    }
}

/// Runs a command of device-mapper, by its number, on an open `/dev/mapper/control`.
pub(in crate::linux) fn device_mapper(
    control: &File,
    number: u8,
    buffer: &mut DeviceMapperBuffer,
) -> Result<(), Errno> {
    // Bytes 12 to 16 are `data_size`, the upper half of the second word.
    let size = size_of::<DeviceMapperBuffer>() as u64;
    buffer[1] = buffer[1] & 0xffff_ffff | size << 32;
    // SAFETY: see `DeviceMapperCommand`; on a file that is not device-mapper's the kernel answers
    // ENOTTY.
    unsafe { ioctl(control, DeviceMapperCommand { number, buffer }) }
}

/// LOOP_CTL_GET_FREE, which answers with its result alone.
struct FreeLoop;

// SAFETY: LOOP_CTL_GET_FREE takes no argument and touches no memory of this process.
unsafe impl Ioctl for FreeLoop {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE as Opcode
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut std::ffi::c_void) -> Result<u32, Errno> {
        u32::try_from(output).map_err(|_| Errno::RANGE)
    }
}

/// The number of a free loop device, which another program may take first.
pub(in crate::linux) fn free_loop(control: &File) -> Result<u32, Errno> {
    // SAFETY: see `FreeLoop`.
    unsafe { ioctl(control, FreeLoop) }
}

/// The configuration of a loop device.
#[derive(Debug, Clone, Copy)]
pub(in crate::linux) struct LoopConfiguration<'a> {
    /// The file behind it.
    pub(in crate::linux) file: &'a File,
    /// Flags of linux/loop.h.
    pub(in crate::linux) flags: u32,
    /// The name that identifies it later, at most 63 bytes.
    pub(in crate::linux) name: &'a str,
}

/// A zeroed value.
const EMPTY: loop_info64 = loop_info64 {
    lo_device: 0,
    lo_inode: 0,
    lo_rdevice: 0,
    lo_offset: 0,
    lo_sizelimit: 0,
    lo_number: 0,
    lo_encrypt_type: 0,
    lo_encrypt_key_size: 0,
    lo_flags: 0,
    lo_file_name: [0; 64],
    lo_crypt_name: [0; 64],
    lo_encrypt_key: [0; 32],
    lo_init: [0; 2],
};

/// Attaches a file to an open loop device in one step; EBUSY if it has one already.
pub(in crate::linux) fn configure_loop(
    device: &File,
    wanted: LoopConfiguration<'_>,
) -> Result<(), Errno> {
    let mut info = EMPTY;
    let name = wanted.name.as_bytes();
    // One byte is reserved for the terminating zero.
    if name.len() >= info.lo_file_name.len() {
        return Err(Errno::NAMETOOLONG);
    }
    info.lo_file_name[..name.len()].copy_from_slice(name);
    info.lo_flags = wanted.flags;
    let config = loop_config {
        fd: wanted.file.as_raw_fd().cast_unsigned(),
        block_size: 0,
        info,
        __reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one `loop_config`; the descriptor in it is open, as `wanted`
    // borrows its file.
    unsafe {
        ioctl(
            device,
            Setter::<{ LOOP_CONFIGURE as Opcode }, loop_config>::new(config),
        )
    }
}

/// The status of an open loop device; ENXIO if it has no file.
pub(in crate::linux) fn loop_status(device: &File) -> Result<loop_info64, Errno> {
    // SAFETY: LOOP_GET_STATUS64 writes one `loop_info64`, whole.
    unsafe {
        ioctl(
            device,
            Getter::<{ LOOP_GET_STATUS64 as Opcode }, loop_info64>::new(),
        )
    }
}

/// Updates an open loop device to the current length of its file.
pub(in crate::linux) fn stretch_loop(device: &File) -> Result<(), Errno> {
    // SAFETY: LOOP_SET_CAPACITY takes no argument and touches no memory of this process.
    unsafe { ioctl(device, NoArg::<{ LOOP_SET_CAPACITY as Opcode }>::new()) }
}

/// An extent of a file, `struct fiemap_extent` of linux/fiemap.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::linux) struct Extent {
    /// Its offset in the file, in bytes.
    pub(in crate::linux) logical: u64,
    physical: u64,
    /// Its length in bytes.
    pub(in crate::linux) length: u64,
    reserved: [u64; 2],
    /// Flags of linux/fiemap.h.
    pub(in crate::linux) flags: u32,
    reserved_too: [u32; 3],
}

/// `struct fiemap` with room for extents.
#[repr(C)]
#[derive(Clone, Copy)]
struct ExtentMap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    extents: [Extent; ROOM],
}

const ROOM: usize = 256;

/// FS_IOC_FIEMAP, `_IOWR('f', 11, struct fiemap)`, whose size does not count the extents.
const FIEMAP: Opcode = opcode::read_write::<[u8; 32]>(b'f', 11);

/// The next extents of a file from an offset on; none after the last.
pub(in crate::linux) fn extents(file: &File, from: u64) -> Result<Vec<Extent>, Errno> {
    let mut map = ExtentMap {
        start: from,
        length: u64::MAX - from,
        flags: 0,
        mapped: 0,
        room: ROOM as u32,
        reserved: 0,
        extents: [Extent::default(); ROOM],
    };
    // SAFETY: FS_IOC_FIEMAP reads the 32 bytes at the beginning of `ExtentMap` and writes them and
    // at most `room` extents behind them, which is as many as there are.
    unsafe { ioctl(file, Updater::<{ FIEMAP }, ExtentMap>::new(&mut map)) }?;
    Ok(map.extents[..(map.mapped as usize).min(ROOM)].to_vec())
}
