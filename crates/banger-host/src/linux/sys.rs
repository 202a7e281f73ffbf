//! The only unsafe code: ioctls that rustix lacks, the steps of a child between fork and exec, and
//! clearing the environment.

pub(super) mod block;
mod mount;

pub(crate) use mount::show_as;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use linux_raw_sys::ioctl::{TUNSETIFF, TUNSETOWNER, TUNSETPERSIST};
use rustix::io::{Errno, FdFlags};
use rustix::ioctl::{IntegerSetter, Ioctl, IoctlOutput, Opcode, Setter, ioctl};
use rustix::process::{Gid, Uid};

/// `struct ifreq` as TUNSETIFF reads it; see netdevice(7).
#[repr(C)]
#[derive(Clone, Copy)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Attaches an open `/dev/net/tun` to the TAP of this name, which is created if necessary.
pub(super) fn attach_tap(tun: impl AsFd, name: &str, flags: u32) -> Result<(), Errno> {
    let mut request = InterfaceRequest {
        name: [0; 16],
        flags: 0,
        rest: [0; 22],
    };
    let bytes = name.as_bytes();
    // One byte is reserved for the terminating zero.
    if bytes.len() >= request.name.len() {
        return Err(Errno::NAMETOOLONG);
    }
    request.name[..bytes.len()].copy_from_slice(bytes);
    request.flags = u16::try_from(flags).map_err(|_| Errno::INVAL)?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, whose layout and size `InterfaceRequest`
    // has; the kernel's write of the name back goes to our copy.
    unsafe {
        ioctl(
            tun,
            Setter::<{ TUNSETIFF as Opcode }, InterfaceRequest>::new(request),
        )
    }
}

/// Lets this user open the TAP.
pub(super) fn set_tap_owner(tap: impl AsFd, uid: u32) -> Result<(), Errno> {
    // SAFETY: TUNSETOWNER takes a user id as its argument and touches no memory of this process.
    unsafe {
        ioctl(
            tap,
            IntegerSetter::<{ TUNSETOWNER as Opcode }>::new_usize(uid as usize),
        )
    }
}

/// Makes the TAP persistent: it exists even when no process has it open.
pub(super) fn set_tap_persistent(tap: impl AsFd) -> Result<(), Errno> {
    // SAFETY: TUNSETPERSIST takes a truth value as its argument and touches no memory of this
    // process.
    unsafe {
        ioctl(
            tap,
            IntegerSetter::<{ TUNSETPERSIST as Opcode }>::new_usize(1),
        )
    }
}

/// KVM_CREATE_VM, `_IO(0xAE, 0x01)`; see `Documentation/virt/kvm/api.rst` of Linux.
struct CreateVm;

// SAFETY: KVM_CREATE_VM takes the machine type as an integer, here 0, touches no memory of this
// process, and returns a new descriptor that is owned here.
unsafe impl Ioctl for CreateVm {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        0xAE01
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> Result<OwnedFd, Errno> {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(output) })
    }
}

/// Creates an empty machine, which ends when the descriptor is dropped.
pub(super) fn create_kvm_vm(kvm: &File) -> Result<OwnedFd, Errno> {
    // SAFETY: see `CreateVm`; on a file that is not KVM the kernel answers ENOTTY.
    unsafe { ioctl(kvm, CreateVm) }
}

/// The state of a child before it executes its program. All of it is prepared before the fork,
/// since the child of a program with threads may not allocate.
#[derive(Debug)]
pub(super) struct Child {
    /// Its working directory.
    pub(super) directory: OwnedFd,
    /// Its user; `None` keeps ours.
    pub(super) user: Option<User>,
    /// The TAP that it inherits.
    pub(super) tap: Option<HandedTap>,
}

/// A user and all of its groups.
#[derive(Debug)]
pub(super) struct User {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) supplementary: Vec<Gid>,
}

/// An open TAP, and the descriptor number that the child finds it at.
#[derive(Debug)]
pub(super) struct HandedTap {
    pub(super) tap: OwnedFd,
    pub(super) number: RawFd,
    /// The device and inode of that number before the fork; `None` if it was free.
    pub(super) before: Option<(u64, u64)>,
}

/// Takes over a descriptor that the parent process has opened for this one; `None` if it is not
/// open. Call it once for each number, at the start of a program: any other owner of the descriptor
/// would lose it.
pub(crate) fn take_handed(number: RawFd) -> Option<OwnedFd> {
    identity(number)?;
    // SAFETY: it is open, as `identity` has just seen, and this program has not opened it, nor
    // taken it before, as our caller sees to.
    let taken = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&taken, FdFlags::CLOEXEC).ok()?;
    Some(taken)
}

/// The identity of an open descriptor: device and inode.
pub(super) fn identity(number: RawFd) -> Option<(u64, u64)> {
    // SAFETY: the borrow ends with this call, and fstat on a number that is not open answers
    // EBADF; nothing is read or written through it.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::fs::fstat(descriptor)
        .ok()
        .map(|it| (it.st_dev, it.st_ino))
}

/// Makes the child of this command become `child` before it executes its program.
pub(super) fn before_exec(command: &mut Command, child: Child) {
    // SAFETY: `become` makes system calls only; it does not allocate, lock or unwind.
    unsafe {
        command.pre_exec(move || child.become_it().map_err(io::Error::from));
    }
}

impl Child {
    fn become_it(&self) -> Result<(), Errno> {
        rustix::process::setsid()?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        rustix::process::fchdir(&self.directory)?;
        if let Some(user) = &self.user {
            rustix::thread::set_thread_groups(&user.supplementary)?;
            rustix::thread::set_thread_res_gid(user.gid, user.gid, user.gid)?;
            rustix::thread::set_thread_res_uid(user.uid, user.uid, user.uid)?;
            rustix::thread::set_no_new_privs(true)?;
        }
        let _ = rustix::thread::clear_ambient_capability_set();
        default_signals();
        close_on_exec();
        self.tap.as_ref().map_or(Ok(()), HandedTap::hand_over)
    }
}

impl HandedTap {
    fn hand_over(&self) -> Result<(), Errno> {
        if self.tap.as_raw_fd() == self.number {
            return rustix::io::fcntl_setfd(&self.tap, FdFlags::empty());
        }
        // Meanwhile the standard library's own descriptor, which reports a failed exec, may have
        // this number; the caller tries again then.
        if identity(self.number) != self.before {
            return Err(Errno::AGAIN);
        }
        // SAFETY: in this process the number is ours to replace: every other descriptor except the
        // standard three closes at exec. It is forgotten below, never closed.
        let mut number = unsafe { OwnedFd::from_raw_fd(self.number) };
        let copied = rustix::io::dup2(&self.tap, &mut number);
        std::mem::forget(number);
        copied
    }
}

unsafe extern "C" {
    // clearenv(3), signal(2) and syscall(2) of the C library that the standard library links
    // already.
    fn clearenv() -> i32;
    fn signal(number: i32, handler: usize) -> usize;
    fn syscall(number: std::ffi::c_long, ...) -> std::ffi::c_long;
    // pthread_sigmask(3).
    fn pthread_sigmask(how: i32, set: *const SignalSet, old: *mut SignalSet) -> i32;
}

/// `sigset_t` of the C library: 1024 bits.
#[repr(C, align(8))]
struct SignalSet([u64; 16]);

/// Resets the signal dispositions that the parent process has left. SIGPIPE and SIGXFSZ are
/// ignored, because every write is checked: a closed pipe and a file that is too long are errors of
/// the write.
pub(crate) fn usual_signals() {
    const SIG_IGN: usize = 1;
    let ignored = [rustix::process::Signal::PIPE, rustix::process::Signal::XFSZ];
    default_signals();
    for number in ignored {
        // SAFETY: signal(2) with SIG_IGN touches no memory of this process.
        unsafe { signal(number.as_raw(), SIG_IGN) };
    }
}

/// Closes every file except the standard three. Call it only at the start of a program, which owns
/// no other file yet.
pub(crate) fn close_inherited() {
    const FIRST: RawFd = 3;
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers: Vec<RawFd> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number >= FIRST) {
        // The folder's own descriptor is closed by now.
        if identity(number).is_some() {
            // SAFETY: nothing in this process owns it, since the caller has opened nothing yet, and
            // there is no other thread that could have.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
}

/// Resets the signals that the daemon ignores or blocks, which its children would inherit.
fn default_signals() {
    const SIG_SETMASK: i32 = 2;
    let none = SignalSet([0; 16]);
    for number in 1..=64 {
        // SAFETY: signal(2) with SIG_DFL (0) touches no memory of this process and is
        // async-signal-safe; for SIGKILL, SIGSTOP and the C library's own (32, 33) it answers
        // EINVAL.
        unsafe { signal(number, 0) };
    }
    // SAFETY: the set is whole, aligned, and read only during the call; nothing is written back.
    // It is async-signal-safe.
    unsafe { pthread_sigmask(SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

/// Marks all descriptors beyond the standard three close-on-exec, in case one was opened without
/// the flag.
fn close_on_exec() {
    const FIRST: std::ffi::c_uint = 3;
    // CLOSE_RANGE_CLOEXEC in linux/close_range.h.
    const FLAGS: std::ffi::c_uint = 1 << 2;
    let number = std::ffi::c_long::from(linux_raw_sys::general::__NR_close_range);
    // SAFETY: close_range(2) touches no memory of this process. A kernel before 5.11 answers
    // EINVAL, and then what the standard library opens closes at exec all the same.
    unsafe { syscall(number, FIRST, std::ffi::c_uint::MAX, FLAGS) };
}

/// Clears our environment. Call it only in a program without other threads.
pub(crate) fn clear_environment() {
    // SAFETY: clearenv(3) is unsafe only beside another thread that reads the environment; the
    // one caller is the start of the root program, which has none.
    unsafe { clearenv() };
}

/// Moves this thread, and the programs that it starts, to namespaces of its own.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> Result<(), Errno> {
    assert!(!flags.contains(rustix::thread::UnshareFlags::FILES));
    // SAFETY: it is unsafe only with UnshareFlags::FILES, which no caller passes.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
