//! Which loader an ELF program asks for.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::failure::{Context as _, Result};

const PROGRAM_HEADER: usize = 56;
const INTERPRETER: u32 = 3;

/// The most program headers that are looked at, and the longest path that is taken.
const MOST_HEADERS: u16 = 64;
const LONGEST_PATH: u64 = 4096;

/// The loader that the 64-bit little-endian program at `path` names; `None` for a static program
/// and for what is no such program.
pub(crate) fn loader(path: &Path) -> Result<Option<String>> {
    let what = || format!("read `{}`", path.display());
    let file = File::open(path).while_doing(what)?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).while_doing(what)?;
    if head[..6] != *b"\x7fELF\x02\x01" {
        return Ok(None);
    }
    let start = u64_at(&head, 32);
    let count = u16::from_le_bytes([head[56], head[57]]).min(MOST_HEADERS);
    for index in 0..u64::from(count) {
        let mut header = [0; PROGRAM_HEADER];
        let at = start.saturating_add(index * PROGRAM_HEADER as u64);
        file.read_exact_at(&mut header, at).while_doing(what)?;
        if u32::from_le_bytes([header[0], header[1], header[2], header[3]]) == INTERPRETER {
            let length = usize::try_from(u64_at(&header, 32).min(LONGEST_PATH)).unwrap_or(0);
            let mut name = vec![0; length];
            file.read_exact_at(&mut name, u64_at(&header, 8))
                .while_doing(what)?;
            name.retain(|&byte| byte != 0);
            return Ok(Some(String::from_utf8_lossy(&name).into_owned()));
        }
    }
    Ok(None)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_names_its_loader() {
        let found = loader(Path::new("/bin/sh")).unwrap().unwrap();
        assert!(found.starts_with("/lib"), "{found}");
        assert!(Path::new(&found).exists(), "{found}");
    }

    #[test]
    fn what_is_no_program_has_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [b'#'; 100]).unwrap();
        assert_eq!(loader(file.path()).unwrap(), None);
    }
}
