//! The headers of an ELF file (elf(5)), which are checked before a program is run.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use object::LittleEndian;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

/// An upper bound for the headers of a program, in bytes.
const HEAD: usize = 64 << 10;

/// A 64-bit little-endian program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elf {
    machine: u16,
    /// Whether it needs a loader and libraries to run.
    pub(crate) needs_libraries: bool,
}

impl Elf {
    /// Reads the headers of a file; `None` if it is not such a program.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let (mut head, mut length) = (vec![0; HEAD], 0);
        loop {
            match file.read_at(&mut head[length..], length as u64)? {
                0 => return Ok(Self::parse(&head[..length])),
                more => length += more,
            }
        }
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let header = FileHeader64::<LittleEndian>::parse(head).ok()?;
        let segments = header.program_headers(LittleEndian, head).ok()?;
        let mut kinds = segments.iter().map(|it| it.p_type(LittleEndian));
        Some(Self {
            machine: header.e_machine(LittleEndian),
            needs_libraries: kinds.any(|kind| kind == PT_INTERP),
        })
    }

    /// Whether it is for the processor of this machine.
    pub(crate) fn runs_here(self) -> bool {
        self.processor() == std::env::consts::ARCH
    }

    /// The processor that it is for, by Rust's name.
    pub(crate) fn processor(self) -> String {
        match self.machine {
            EM_X86_64 => "x86_64".to_owned(),
            EM_AARCH64 => "aarch64".to_owned(),
            other => format!("another CPU (ELF machine {other})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_programs_are_distinguished_from_static_ones() {
        let own = Elf::read(&File::open("/proc/self/exe").unwrap());
        let own = own.unwrap().unwrap();
        assert!(own.needs_libraries && own.runs_here());
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64 + 56, 0);
        (elf[18], elf[32], elf[54], elf[56]) = (243, 64, 56, 1);
        elf[64] = 1;
        let other = Elf::parse(&elf).unwrap();
        assert!(!other.needs_libraries && !other.runs_here());
        assert_eq!(other.processor(), "another CPU (ELF machine 243)");
        for length in 0..elf.len() {
            assert_eq!(Elf::parse(&elf[..length]), None, "{length} bytes");
        }
        elf[32..40].fill(0xff);
        assert_eq!(Elf::parse(&elf), None);
        assert_eq!(Elf::parse(b"#!/bin/sh\n"), None);
    }
}
