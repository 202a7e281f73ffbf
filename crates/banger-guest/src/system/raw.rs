//! The only unsafe code of this program: calls for which rustix has no safe form.
#![expect(unsafe_code, reason = "an ioctl and a signal that rustix cannot check")]

use std::os::fd::AsFd;

use rustix::io;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use rustix::process::{Pid, Signal, kill_process};

/// `EXT4_IOC_RESIZE_FS`, from the kernel's `include/uapi/linux/ext4.h`.
const EXT4_RESIZE: Opcode = opcode::write::<u64>(b'f', 16);

/// The first real-time signal that a C library leaves to programs, and systemd counts from.
const FIRST_REAL_TIME: i32 = 34;

/// Grows the mounted ext4 file system that `fd` lies in to so many blocks of its own size.
pub(crate) fn resize_ext4(fd: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64 through its argument, as its definition above says,
    // and a kernel that does not know the number answers ENOTTY.
    unsafe { ioctl(fd, Setter::<EXT4_RESIZE, u64>::new(blocks)) }
}

/// Sends `SIGRTMIN` plus `offset` (0 to 29) to the first process.
pub(crate) fn signal_init(offset: i32) -> io::Result<()> {
    let number = FIRST_REAL_TIME + offset.clamp(0, 29);
    // SAFETY: the number is 34 to 63, none of the two that the C library keeps for itself (32 and
    // 33), and the signal goes to another process, so no state of this one is disturbed.
    let signal = unsafe { Signal::from_raw_unchecked(number) };
    kill_process(Pid::INIT, signal)
}
