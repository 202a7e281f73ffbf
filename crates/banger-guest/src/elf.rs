//! The headers of an ELF file: elf(5).

use object::LittleEndian;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

pub use object::elf::EM_X86_64;

/// A 64-bit little-endian program or kernel.
#[derive(Debug)]
pub struct Elf<'a> {
    /// The processor that it is for, such as [`EM_X86_64`].
    pub machine: u16,
    /// The path of the loader that it needs; `None` for a static program.
    pub loader: Option<&'a [u8]>,
}

impl<'a> Elf<'a> {
    /// Parses the headers at the beginning of these bytes; `None` if they are not such a file, or
    /// incomplete.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = FileHeader64::<LittleEndian>::parse(bytes).ok()?;
        let segments = header.program_headers(LittleEndian, bytes).ok()?;
        let loader = segments
            .iter()
            .find(|segment| segment.p_type(LittleEndian) == PT_INTERP)
            .map(|segment| segment.data(LittleEndian, bytes).unwrap_or_default());
        Some(Self {
            machine: header.e_machine(LittleEndian),
            loader: loader.map(|path| path.strip_suffix(b"\0").unwrap_or(path)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF-64 header with program headers of these types.
    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[16] = 2;
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = kinds.len() as u8;
        for kind in kinds {
            elf.extend(kind.to_le_bytes());
            elf.extend([0; 52]);
        }
        elf
    }

    #[test]
    fn a_program_of_this_machine_names_its_loader() {
        let shell = std::fs::read("/bin/sh").unwrap();
        let loader = Elf::parse(&shell).unwrap().loader.unwrap();
        let loader = std::str::from_utf8(loader).unwrap();
        assert!(std::path::Path::new(loader).exists(), "{loader}");
        let found = program(&[6, 3, 1]);
        assert!(Elf::parse(&found).unwrap().loader.is_some());
    }

    #[test]
    fn a_static_program_names_none() {
        let found = program(&[1, 1, 7]);
        let found = Elf::parse(&found).unwrap();
        assert_eq!((found.machine, found.loader), (EM_X86_64, None));
    }

    #[test]
    fn what_is_no_program_or_is_cut_off_is_none() {
        assert!(Elf::parse(b"#!/bin/sh\n").is_none());
        let whole = program(&[1, 1]);
        for length in 0..whole.len() {
            assert!(Elf::parse(&whole[..length]).is_none(), "{length} bytes");
        }
        let mut far = program(&[1]);
        far[32..40].fill(0xff);
        assert!(Elf::parse(&far).is_none());
    }
}
