//! The serial console of a running VM: one typist, any number of readers.
//!
//! Typed bytes go to the hypervisor through a FIFO, and the guest's output is read from the
//! console's file, from near its end. So a session holds no part of the machine: a daemon that ends
//! ends only its sessions. A typist's permit belongs to the session, and ends with it.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use banger_api::{Code, Error, Phase, VmId, VmRef};
use banger_guest::end::START;
use banger_host::Process;

use super::hold::Slot;
use super::inside::not_running;
use super::{CHUNK, Engine, lock};
use crate::error::{During, Result};
use crate::layout::machine;
use crate::vm::Vm;

/// The number of bytes of earlier output that a session begins with.
const EARLIER: u64 = 4 << 10;

/// The output after which a kernel has finished its own boot, in bytes: its first program has long begun.
const LONGEST_BOOT: u64 = 64 << 10;

/// The interval at which a console is read while the guest prints, or a client types.
const BUSY: Duration = Duration::from_millis(10);

/// The interval at which it is read otherwise.
const IDLE: Duration = Duration::from_millis(50);

/// How long after its last output a guest counts as printing.
const LINGER: Duration = Duration::from_secs(2);

/// The VMs that have a typist.
pub(super) type Typists = Arc<Mutex<BTreeSet<VmId>>>;

/// One client at a console.
#[derive(Debug)]
pub struct ConsoleSession {
    /// The output of the guest.
    pub reader: ConsoleReader,
    /// The input of the client, unless it only reads.
    pub typing: Option<Typing>,
}

/// The input of the only typist of a VM.
#[derive(Debug)]
pub struct Typing {
    /// The writing end of a pipe to the machine's serial port; it does not block.
    pub input: OwnedFd,
    /// The permit, returned when this is dropped.
    pub permit: TypingPermit,
}

/// The permit of the only typist of a VM.
#[derive(Debug)]
pub struct TypingPermit {
    vm: VmId,
    typists: Typists,
}

impl Drop for TypingPermit {
    fn drop(&mut self) {
        lock(&self.typists).remove(&self.vm);
    }
}

/// A position in the output of a console.
#[derive(Debug)]
pub struct ConsoleReader {
    slot: Arc<Slot>,
    /// The process of the run that is read; the session ends with it.
    process: Process,
    next: u64,
    /// The end of the output from before the session.
    earlier: u64,
    printed: Instant,
    is_over: bool,
    port: PortWatch,
}

/// Whether the guest has its serial port open by now. Before that, the kernel's driver throws away what the port
/// has received each time it looks at the port.
#[derive(Debug, Default)]
struct PortWatch {
    is_open: bool,
    /// The end of the output so far, where the first line of our program may have begun.
    tail: Vec<u8>,
}

/// Whether the VM's kernel may still be booting: a rescue is not waited for, so it counts as running at once.
fn may_boot(vm: &Vm) -> bool {
    vm.phase == Phase::Starting || vm.is_in_rescue()
}

impl PortWatch {
    fn see(&mut self, output: &[u8], boots: bool) {
        self.tail.extend_from_slice(output);
        let mut windows = self.tail.windows(START.len());
        self.is_open |= !boots || windows.any(|it| it == START.as_bytes());
        self.tail
            .drain(..self.tail.len().saturating_sub(START.len()));
    }
}

impl ConsoleReader {
    /// Whether the guest takes what is typed; for good, once it does.
    pub fn takes_input(&self) -> bool {
        self.port.is_open
    }
}

/// The result of one read of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsolePiece {
    /// Output from before the session.
    Earlier(Vec<u8>),
    /// Output; empty if there was none for a moment.
    Output(Vec<u8>),
    /// The VM does not run any more, with the reason.
    Ended(String),
}

impl Engine {
    /// Begins a session at the console of a running VM.
    ///
    /// # Errors
    /// `conflict` if the VM does not run, or its machine has no input; `busy` if another client
    /// types.
    pub fn attach_console(&self, wanted: &VmRef, types: bool) -> Result<ConsoleSession> {
        let slot = self.find(wanted)?;
        let vm = slot.vm();
        let Some((process, hypervisor)) = vm.process().zip(self.hypervisor_of(&vm)) else {
            return Err(not_running(&vm));
        };
        let typing = if types {
            let permit = self.take_typing_permit(vm.id, &vm.name)?;
            let input = hypervisor.console_input(&vm)?;
            tracing::info!(vm = %vm.name, "somebody types to the console");
            Some(Typing { input, permit })
        } else {
            None
        };
        let path = self.parts.layout.vm(vm.id).in_machine(machine::CONSOLE);
        let stat = self.host().stat(&path).during("examine the console")?;
        let length = stat.map_or(0, |stat| stat.length);
        let printed = length.saturating_sub(vm.console_offset());
        let mut port = PortWatch::default();
        if printed > LONGEST_BOOT {
            port.is_open = true;
        } else {
            let limit = usize::try_from(printed).unwrap_or(0);
            let begun = self.host().read_at(&path, vm.console_offset(), limit);
            port.see(&begun.during("read the console")?, may_boot(&vm));
        }
        let reader = ConsoleReader {
            process: process.clone(),
            next: vm.console_offset().max(length.saturating_sub(EARLIER)),
            earlier: length,
            printed: Instant::now(),
            is_over: false,
            port,
            slot,
        };
        Ok(ConsoleSession { reader, typing })
    }

    fn take_typing_permit(&self, vm: VmId, name: &banger_api::VmName) -> Result<TypingPermit> {
        if !lock(&self.typists).insert(vm) {
            let text = format!("somebody types to the console of `{name}` already");
            return Err(Error::new(Code::Busy, text)
                .hint(format!("read along: banger vm console --read-only {name}"))
                .hint(format!("for a shell of your own: banger vm shell {name}")));
        }
        let typists = Arc::clone(&self.typists);
        Ok(TypingPermit { vm, typists })
    }

    /// The output since the last read. Waits for a moment if there is none.
    ///
    /// # Errors
    /// If the console cannot be read.
    pub fn read_console(&self, reader: &mut ConsoleReader) -> Result<ConsolePiece> {
        let boots = may_boot(&reader.slot.vm());
        let piece = self.read_piece(reader)?;
        let output = match &piece {
            ConsolePiece::Earlier(bytes) | ConsolePiece::Output(bytes) => bytes.as_slice(),
            ConsolePiece::Ended(_) => &[],
        };
        reader.port.see(output, boots);
        Ok(piece)
    }

    fn read_piece(&self, reader: &mut ConsoleReader) -> Result<ConsolePiece> {
        let vm = reader.slot.vm();
        let runs = vm.process() == Some(&reader.process);
        let path = self.parts.layout.vm(vm.id).in_machine(machine::CONSOLE);
        let read = |limit| {
            let bytes = self.host().read_at(&path, reader.next, limit);
            bytes.during("read the console")
        };
        let earlier = usize::try_from(reader.earlier.saturating_sub(reader.next)).unwrap_or(0);
        if earlier > 0 {
            let bytes = read(earlier.min(CHUNK))?;
            reader.next = reader.earlier;
            return Ok(ConsolePiece::Earlier(bytes));
        }
        let bytes = read(CHUNK)?;
        if !bytes.is_empty() && !reader.is_over {
            reader.next += bytes.len() as u64;
            reader.printed = Instant::now();
            // The last output of a machine may be more than one piece. Output of the next machine
            // belongs to another session.
            reader.is_over = !runs && bytes.len() < CHUNK;
            return Ok(ConsolePiece::Output(bytes));
        }
        if !runs {
            return Ok(ConsolePiece::Ended(format!("`{}` has stopped", vm.name)));
        }
        let pause = if reader.printed.elapsed() < LINGER {
            BUSY
        } else {
            IDLE
        };
        let process = std::slice::from_ref(&reader.process);
        if !self.host().wait_any(process, pause).is_empty() {
            // Its end is not recorded yet.
            self.host().wait_any(&[], BUSY);
        }
        Ok(ConsolePiece::Output(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_open_once_our_program_has_said_its_first_line_or_the_start_is_over() {
        let mut port = PortWatch::default();
        for piece in ["SeaBIOS\r\n", "\r\nbanger: st", "art"] {
            assert!(!port.is_open, "before {piece:?}");
            port.see(piece.as_bytes(), true);
        }
        assert!(port.is_open);
        port.see(b"", true);
        assert!(port.is_open, "for good");
        let mut later = PortWatch::default();
        later.see(b"login: ", false);
        assert!(later.is_open);
        let mut silent = PortWatch::default();
        silent.see(&[b'x'; 100_000], true);
        assert!(!silent.is_open && silent.tail.len() == START.len());
    }
}
