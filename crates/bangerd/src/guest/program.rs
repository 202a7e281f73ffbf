//! The guest program that each start carries: this daemon's own build.
//!
//! The build that writes a guest config also reads it, so a VM of any age boots with any daemon.
//! Only the agent's protocol crosses builds, because a guest outlives its daemon.
//!
//! The program is read once, on first use: a newer one that is installed beside a running daemon is
//! another build.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use banger_api::{Code, Error};
use banger_guest::BUILD;
use banger_guest::elf::{EM_X86_64, Elf};
use banger_host::Finding;

use crate::error::Result;
use crate::readiness::Check;

/// The name of the file.
pub(crate) const FILE: &str = "banger-guest";

/// The hint if there is none.
const HINT: &str = "install banger-guest beside bangerd (make guest builds it as \
                    target/dist/banger-guest), or: banger bundle build";

/// The guest program of this build.
#[derive(Debug, Clone)]
pub struct GuestProgram(Arc<Source>);

#[derive(Debug)]
struct Source {
    /// The candidates; the first suitable file is used.
    candidates: Vec<PathBuf>,
    read: Mutex<Option<Arc<Program>>>,
}

/// A loaded program.
#[derive(Debug)]
struct Program {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl GuestProgram {
    /// Uses the first of these files that is a static program of this build.
    #[must_use]
    pub fn among(candidates: Vec<PathBuf>) -> Self {
        let read = Mutex::default();
        Self(Arc::new(Source { candidates, read }))
    }

    /// The program of a simulated host, which is empty.
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
    /// `not-ready` if no candidate is suitable; the causes name each with its reason.
    pub fn bytes(&self) -> Result<Arc<impl AsRef<[u8]> + use<>>> {
        self.find()
    }

    /// The requirement that it exists.
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

/// Loads the program.
///
/// # Errors
/// The reason that the file is unsuitable, as a predicate.
pub(crate) fn load(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|cause| format!("cannot be read: {cause}"))?;
    if !is_static(&bytes) {
        return Err("is not a static x86-64 program".to_owned());
    }
    if memchr::memmem::find(&bytes, BUILD.as_bytes()).is_none() {
        return Err("is from another build than this daemon".to_owned());
    }
    Ok(bytes)
}

/// Whether these bytes are a static x86-64 program.
fn is_static(bytes: &[u8]) -> bool {
    Elf::parse(bytes).is_some_and(|it| it.machine == EM_X86_64 && it.loader.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF-64 header for this processor, and nothing else.
    fn program(machine: u16) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[18..20].copy_from_slice(&machine.to_le_bytes());
        elf
    }

    #[test]
    fn a_program_of_another_processor_or_with_a_loader_is_refused() {
        assert!(is_static(&program(EM_X86_64)));
        assert!(!is_static(&program(183)), "a program for arm64");
        assert!(
            !is_static(&fs::read("/proc/self/exe").unwrap()),
            "these tests need libraries"
        );
    }

    #[test]
    fn the_first_program_of_this_build_is_taken_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("other"), program(EM_X86_64)).unwrap();
        let ours = [program(EM_X86_64), BUILD.as_bytes().to_vec()].concat();
        fs::write(path("ours"), &ours).unwrap();
        let found = GuestProgram::among(vec![path("absent"), path("other"), path("ours")]);
        assert_eq!((*found.bytes().unwrap()).as_ref(), ours);
        fs::remove_file(path("ours")).unwrap();
        assert!(found.bytes().is_ok(), "it is read once");
        let none = GuestProgram::among(vec![path("absent"), path("other")]);
        let error = crate::error::chain(&none.find().unwrap_err());
        assert!(error.contains("absent` cannot be read"), "{error}");
        assert!(error.contains("other` is from another build"), "{error}");
    }
}
