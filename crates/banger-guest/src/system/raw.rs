//! The only unsafe code of this program: calls without a safe form in rustix.
#![expect(
    unsafe_code,
    reason = "an ioctl, a signal and an address that rustix cannot check"
)]

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SocketAddrAny};
use rustix::process::{Gid, Pid, Signal, Uid, kill_process};

/// `EXT4_IOC_RESIZE_FS`, from the kernel's `include/uapi/linux/ext4.h`.
const EXT4_RESIZE: Opcode = opcode::write::<u64>(b'f', 16);

/// The first real-time signal that the C library leaves to programs; systemd counts from it.
const FIRST_REAL_TIME: i32 = 34;

/// Grows the mounted ext4 file system that contains `fd` to this many of its blocks.
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

/// `sigset_t` of the C library: 1024 bits.
#[repr(C, align(8))]
struct SignalSet([u64; 16]);

unsafe extern "C" {
    // pthread_sigmask(3) of the C library that the standard library links already.
    fn pthread_sigmask(how: i32, set: *const SignalSet, old: *mut SignalSet) -> i32;
}

impl SignalSet {
    const NONE: Self = Self([0; 16]);

    /// Makes this the set of blocked signals of this thread.
    fn block(&self) {
        const SIG_SETMASK: i32 = 2;
        // SAFETY: the set is whole, aligned, and read only during the call; nothing is written
        // back. It is async-signal-safe.
        unsafe { pthread_sigmask(SIG_SETMASK, self, std::ptr::null_mut()) };
    }
}

/// Blocks the signals that end a command at a terminal or from outside (`SIGHUP`, `SIGINT`,
/// `SIGQUIT`, `SIGTERM`, `SIGTSTP`) for this thread, but not for the process of `command`.
pub(crate) fn block_endings(command: &mut Command) {
    let blocked = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TERM,
        Signal::TSTP,
    ];
    let mut set = SignalSet::NONE;
    for signal in blocked {
        set.0[0] |= 1 << (signal.as_raw() - 1);
    }
    set.block();
    // SAFETY: between fork and exec the child makes one system call; it does not allocate, lock or
    // unwind.
    unsafe {
        command.pre_exec(|| {
            SignalSet::NONE.block();
            Ok(())
        });
    }
}

/// The ties of a command to its terminal and to this thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ties {
    /// Its standard input is the terminal of its session.
    pub(crate) terminal: bool,
    /// It gets `SIGTERM` when this thread ends.
    pub(crate) bound: bool,
}

/// Makes `command` run in a control group, by the file that takes its processes. Without permission or
/// room there it runs where this process does.
pub(crate) fn enter_group(command: &mut Command, door: std::fs::File) {
    // SAFETY: between fork and exec the child makes one system call; it does not allocate, lock or
    // unwind.
    unsafe {
        command.pre_exec(move || {
            let _ = rustix::io::write(&door, b"0");
            Ok(())
        });
    }
}

/// Makes `command` run in a session of its own, as this user and in these groups.
pub(crate) fn run_as(command: &mut Command, user: Uid, group: Gid, groups: Vec<Gid>, ties: Ties) {
    // SAFETY: between fork and exec the child makes system calls; it does not allocate, lock or
    // unwind. It has one thread, so the calls for a thread are for the whole process.
    unsafe {
        command.pre_exec(move || {
            SignalSet::NONE.block();
            rustix::process::setsid()?;
            if ties.terminal {
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            }
            rustix::thread::set_thread_groups(&groups)?;
            rustix::thread::set_thread_gid(group)?;
            rustix::thread::set_thread_uid(user)?;
            if ties.bound {
                // Last, because a change of the user resets it.
                rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            }
            Ok(())
        });
    }
}

/// The address of a vsock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VsockAddress {
    /// The machine: 2 is the host.
    pub(crate) context: u32,
    /// The port on it.
    pub(crate) port: u32,
}

/// `struct sockaddr_vm`, from the kernel's `include/uapi/linux/vm_sockets.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct SockaddrVm {
    family: u16,
    reserved: u16,
    port: u32,
    context: u32,
    flags: u8,
    zero: [u8; 3],
}

/// Its length, in bytes.
const SOCKADDR_VM: SocketAddrLen = 16;

// The kernel takes a socket address of 16 bytes, no more and no less.
const _: () = assert!(size_of::<SockaddrVm>() == SOCKADDR_VM as usize);

// SAFETY: the closure is given a pointer to a whole `SockaddrVm` without padding, alive during the
// call, and its length; its layout is the one that the kernel defines for AF_VSOCK.
unsafe impl SocketAddrArg for VsockAddress {
    unsafe fn with_sockaddr<R>(
        &self,
        call: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let address = SockaddrVm {
            family: AddressFamily::VSOCK.as_raw(),
            port: self.port,
            context: self.context,
            ..SockaddrVm::default()
        };
        call((&raw const address).cast(), SOCKADDR_VM)
    }
}

impl VsockAddress {
    /// The address that a system call returned, if it is that of a vsock.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what a system call answers is handed on as it comes"
    )]
    pub(crate) fn of(address: SocketAddrAny) -> Option<Self> {
        if address.address_family() != AddressFamily::VSOCK || address.addr_len() < SOCKADDR_VM {
            return None;
        }
        // SAFETY: at least 16 bytes of the address are initialised, as its length says, any bits
        // are a `SockaddrVm`, and reading it unaligned asks nothing of where it lies.
        let raw = unsafe { address.as_ptr().cast::<SockaddrVm>().read_unaligned() };
        Some(Self {
            context: raw.context,
            port: raw.port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vsock_address_is_written_and_read_as_the_kernel_has_it() {
        let address = VsockAddress {
            context: 3,
            port: 1023,
        };
        let any = address.as_any();
        assert_eq!(any.address_family(), AddressFamily::VSOCK);
        assert_eq!(any.addr_len(), 16);
        assert_eq!(VsockAddress::of(any), Some(address));
        let other = rustix::net::SocketAddrV4::new([127, 0, 0, 1].into(), 1023);
        assert_eq!(VsockAddress::of(other.as_any()), None);
    }
}
