//! The guest program that each start carries: this daemon's own build.
//!
//! A guest config is read by the build that wrote it, so a VM of any age boots with any daemon.
//! What crosses builds is the agent's protocol alone, as a guest outlives its daemon.
//!
//! The program is read once, when it is first needed: a newer one that is installed beside a
//! running daemon is another build.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use banger_api::{Code, Error};
use banger_guest::BUILD;
use banger_host::Finding;

use crate::error::Result;
use crate::readiness::Check;

/// The name of its file.
pub const FILE: &str = "banger-guest";

/// What to do where there is none.
const HINT: &str = "install banger-guest beside bangerd (make guest builds it as \
                    target/dist/banger-guest), or: banger bundle build";

/// `e_machine` of x86-64, and the type of the program header that names a loader:
/// System V ABI, chapters 4 and 5.
const EM_X86_64: usize = 62;
const PT_INTERP: u32 = 3;

/// The guest program of this build, wherever it lies.
#[derive(Debug, Clone)]
pub struct GuestProgram(Arc<Source>);

#[derive(Debug)]
struct Source {
    /// Where it may lie; the first file that will do is taken.
    candidates: Vec<PathBuf>,
    read: Mutex<Option<Arc<Program>>>,
}

/// A program that was read.
#[derive(Debug)]
struct Program {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl GuestProgram {
    /// The first of these files that is a static program of this build.
    #[must_use]
    pub fn among(candidates: Vec<PathBuf>) -> Self {
        let read = Mutex::default();
        Self(Arc::new(Source { candidates, read }))
    }

    /// A simulated host's, which has no bytes.
    #[must_use]
    pub fn simulated() -> Self {
        let empty = Program {
            path: PathBuf::from("simulated"),
            bytes: Vec::new(),
        };
        Self(Arc::new(Source {
            candidates: Vec::new(),
            read: Mutex::new(Some(Arc::new(empty))),
        }))
    }

    /// Its bytes.
    ///
    /// # Errors
    /// `not-ready` where no candidate will do; the causes name each with its reason.
    pub fn bytes(&self) -> Result<Arc<impl AsRef<[u8]> + use<>>> {
        self.find()
    }

    /// The requirement that there is one.
    #[must_use]
    pub fn check(&self) -> Check {
        let program = self.clone();
        Check::new("guest program", move |_| match program.find() {
            Ok(found) => Finding::Good(format!("`{}`", found.path.display())),
            Err(error) => Finding::Bad {
                found: crate::error::chain(&error),
                hint: HINT.to_owned(),
            },
        })
    }

    fn find(&self) -> Result<Arc<Program>> {
        let mut read = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = &*read {
            return Ok(program.clone());
        }
        let mut reasons = Vec::new();
        for path in &self.0.candidates {
            match load(path) {
                Ok(bytes) => {
                    let path = path.clone();
                    return Ok(read.insert(Arc::new(Program { path, bytes })).clone());
                }
                Err(reason) => reasons.push(format!("`{}` {reason}", path.display())),
            }
        }
        Err(Error::new(Code::NotReady, "no guest program of this build")
            .cause(reasons.join("; "))
            .hint(HINT))
    }
}

impl AsRef<[u8]> for Program {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The program in this file, or why it will not do.
///
/// # Errors
/// The reason, as a predicate of the file.
pub fn load(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|cause| format!("cannot be read: {cause}"))?;
    if !is_static(&bytes) {
        return Err("is not a static x86-64 program".to_owned());
    }
    if memchr::memmem::find(&bytes, BUILD.as_bytes()).is_none() {
        return Err("is of another build than this daemon".to_owned());
    }
    Ok(bytes)
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
    fn the_first_program_of_this_build_is_taken_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("other"), program(&[1])).unwrap();
        let ours = [program(&[1]), BUILD.as_bytes().to_vec()].concat();
        fs::write(path("ours"), &ours).unwrap();
        let found = GuestProgram::among(vec![path("absent"), path("other"), path("ours")]);
        assert_eq!((*found.bytes().unwrap()).as_ref(), ours);
        fs::remove_file(path("ours")).unwrap();
        assert!(found.bytes().is_ok(), "it is read once");
        let none = GuestProgram::among(vec![path("absent"), path("other")]);
        let error = crate::error::chain(&none.find().unwrap_err());
        assert!(error.contains("absent` cannot be read"), "{error}");
        assert!(error.contains("other` is of another build"), "{error}");
    }
}
