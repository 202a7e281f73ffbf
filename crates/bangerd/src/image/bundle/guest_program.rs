//! The guest program: the first process in the initramfs, where there is no library and no
//! loader, so it must be static.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{BundleError, Result};

/// `e_machine` of x86-64, and the type of the program header that names a loader:
/// System V ABI, chapters 4 and 5.
const EM_X86_64: usize = 62;
const PT_INTERP: u32 = 3;

/// Refuses a guest program that is not there, or that would not run in the initramfs.
pub(super) fn check(path: &Path) -> Result<()> {
    let hint = "build it: make guest   (then name it: --guest target/dist/banger-guest)";
    let bytes = fs::read(path).map_err(|cause| {
        BundleError::because(
            format!("read the guest program `{}`", path.display()),
            cause,
        )
        .hint(hint)
    })?;
    if is_static(&bytes) {
        return Ok(());
    }
    Err(BundleError::new(format!(
        "`{}` is not a static x86-64 program",
        path.display()
    ))
    .hint(hint))
}

/// Copies the guest program to `to`, so that it can be run.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let told = |cause| BundleError::because(format!("copy `{}`", from.display()), cause);
    fs::copy(from, to).map_err(told)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(told)
}

/// Whether these bytes are an x86-64 program that names no loader.
fn is_static(elf: &[u8]) -> bool {
    let half = |at: usize| {
        elf.get(at..at + 2)
            .map(|it| usize::from(u16::from_le_bytes([it[0], it[1]])))
    };
    let (Some(offset), Some(size), Some(count)) = (
        elf.get(32..40).and_then(|it| it.try_into().ok()),
        half(54),
        half(56),
    ) else {
        return false;
    };
    let offset = usize::try_from(u64::from_le_bytes(offset)).unwrap_or(usize::MAX);
    let kind = |index: usize| {
        let at = offset.checked_add(index * size)?;
        elf.get(at..at.checked_add(4)?)
            .map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]))
    };
    elf.starts_with(b"\x7fELF\x02\x01")
        && half(18) == Some(EM_X86_64)
        && count > 0
        && (0..count).all(|index| kind(index).is_some_and(|kind| kind != PT_INTERP))
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
    fn a_program_without_a_loader_is_taken_and_one_with_a_loader_is_not() {
        assert!(is_static(&program(&[1, 1, 7])));
        assert!(!is_static(&program(&[6, 3, 1])));
        assert!(
            !is_static(&fs::read("/proc/self/exe").unwrap()),
            "these tests need libraries"
        );
    }

    #[test]
    fn what_is_no_program_or_is_cut_off_is_refused() {
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(b""));
        let whole = program(&[1, 1]);
        for length in 0..whole.len() - 52 {
            assert!(!is_static(&whole[..length]), "{length} bytes");
        }
        let mut far = program(&[1]);
        far[32..40].fill(0xff);
        assert!(!is_static(&far));
        let mut other = program(&[1]);
        other[18] = 183;
        assert!(!is_static(&other), "a program for arm64");
    }

    #[test]
    fn the_error_names_the_program_and_how_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("banger-guest");
        let error = check(&absent).unwrap_err();
        assert!(error.to_string().contains(&absent.display().to_string()));
        assert!(error.hints[0].contains("make guest"));
    }
}
