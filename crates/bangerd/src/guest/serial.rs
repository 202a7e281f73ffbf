//! The input of a machine's serial console: a FIFO that the hypervisor itself holds open for
//! reading and writing. So it has no end of file, whichever daemons open and close it
//! (docs/adr/0049).

use std::os::fd::OwnedFd;

use banger_api::{Code, Error};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;

use crate::error::Result;
use crate::layout::{Layout, machine};
use crate::vm::Vm;

/// Opens the FIFO for writing.
pub(crate) fn open_input(vm: &Vm, layout: &Layout) -> Result<OwnedFd> {
    let path = layout.vm(vm.id).in_machine(machine::CONSOLE_INPUT);
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(input) if is_fifo(&input) => Ok(input),
        // The folder belongs to the hypervisor's user, who may have replaced the FIFO.
        Ok(_) => Err(failed("it is no FIFO")),
        Err(Errno::NOENT | Errno::NXIO) => Err(without(vm)),
        Err(cause) => Err(failed(&cause.to_string())),
    }
}

fn is_fifo(file: &OwnedFd) -> bool {
    fstat(file).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo)
}

fn failed(cause: &str) -> Error {
    Error::new(Code::Host, "open the input of the console").cause(cause)
}

/// The error for a machine without the FIFO: an older banger or an older root helper has started
/// it.
pub(crate) fn without(vm: &Vm) -> Error {
    let name = &vm.name;
    let text = format!("the machine of `{name}` was started without an input for its console");
    Error::new(Code::Conflict, text)
        .hint(format!(
            "an older banger or root helper started it; restart it: banger vm restart {name}"
        ))
        .hint(format!(
            "to read only: banger vm console --read-only {name}"
        ))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::assemble::tests::made;

    #[test]
    fn only_a_fifo_that_is_read_takes_what_is_typed() {
        let (_, vm, _) = made();
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::new(state.path());
        let path = layout.vm(vm.id).in_machine(machine::CONSOLE_INPUT);
        std::fs::create_dir_all(layout.vm(vm.id).machine()).unwrap();
        assert_eq!(open_input(&vm, &layout).unwrap_err().code, Code::Conflict);

        std::fs::write(&path, "a file").unwrap();
        assert_eq!(open_input(&vm, &layout).unwrap_err().code, Code::Host);
        assert_eq!(std::fs::read(&path).unwrap(), b"a file");

        std::fs::remove_file(&path).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).unwrap();
        let error = open_input(&vm, &layout).unwrap_err();
        assert_eq!(error.code, Code::Conflict, "nobody reads it");
        assert!(error.hints[0].contains("banger vm restart"), "{error:?}");

        let _reader = std::fs::File::options().read(true).write(true).open(&path);
        let mut input = std::fs::File::from(open_input(&vm, &layout).unwrap());
        input.write_all(b"typed").unwrap();
    }
}
