//! Generates names for VMs that are created without one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banger_api::{Code, Error};
use banger_host::command::Command;

use crate::error::{During as _, Result};

/// How long the user's program may take for a name.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest list of words that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// The source of generated names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameSource {
    /// Pairs of words from banger's own list.
    Petnames,
    /// A file of the user's: a program that prints a name, or a list of words, one on each line.
    File(PathBuf),
}

impl NameSource {
    /// Candidates for a name. The caller rejects those that are invalid or taken.
    ///
    /// # Errors
    /// If the user's list has no words, or the file cannot be read.
    pub fn candidates(&self) -> Result<Candidates<'_>> {
        Ok(match self {
            Self::Petnames => Candidates::Petnames,
            Self::File(path) if is_program(path) => Candidates::Program(path),
            Self::File(path) => Candidates::Words(words(path)?),
        })
    }
}

/// Candidates for one name.
#[derive(Debug)]
pub enum Candidates<'s> {
    /// From banger's own list.
    Petnames,
    /// From this program.
    Program(&'s Path),
    /// From these words, which are valid parts of a name.
    Words(Vec<String>),
}

impl Candidates<'_> {
    /// The number of candidates to try before giving up.
    #[must_use]
    pub fn patience(&self) -> usize {
        match self {
            Self::Petnames | Self::Words(_) => 1000,
            Self::Program(_) => 20,
        }
    }

    /// The next candidate.
    ///
    /// # Errors
    /// If the program fails.
    pub fn next(&self) -> Result<String> {
        match self {
            Self::Petnames => Ok(petname::petname(2, "-").unwrap_or_default()),
            Self::Program(path) => printed(path),
            Self::Words(words) => Ok(format!("{}-{}", any_of(words)?, any_of(words)?)),
        }
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn printed(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .patience(PATIENCE)
        .run()
        .during("make up a name by the program of `namegen_path`")?;
    Ok(output.text().trim().to_owned())
}

fn words(path: &Path) -> Result<Vec<String>> {
    let doing = || format!("read the words of `namegen_path`, `{}`", path.display());
    let trouble = |cause: std::io::Error| {
        Error::new(Code::NotReady, doing())
            .cause(cause.to_string())
            .hint("name the VM yourself: banger vm create NAME")
    };
    let meta = path.metadata().map_err(trouble)?;
    if !meta.is_file() || meta.len() > LARGEST {
        let text = "it is not a list of words: a file of up to 4 MiB with one word per line";
        return Err(trouble(std::io::Error::other(text)));
    }
    let text = std::fs::read_to_string(path).map_err(trouble)?;
    let lines = text.lines().map(str::trim).map(str::to_lowercase);
    let words: Vec<String> = lines.filter(|it| is_word(it)).collect();
    if words.is_empty() {
        let text = "it has no line with a word of letters and digits";
        return Err(trouble(std::io::Error::other(text)));
    }
    Ok(words)
}

/// Whether two such words with a hyphen between them are a valid name.
fn is_word(line: &str) -> bool {
    (1..=30).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn any_of(words: &[String]) -> Result<&str> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|cause| Error::new(Code::Host, "draw a word").cause(cause.to_string()))?;
    let count = words.len().max(1) as u64;
    let index = usize::try_from(u64::from_ne_bytes(bytes) % count).unwrap_or(0);
    Ok(words.get(index).map_or("", String::as_str))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, NameSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, NameSource::File(path))
    }

    #[test]
    fn a_list_gives_two_of_its_words() {
        let (_folder, source) = file("# a remark\nRed\n\nfox\nnot a word\n-\n", 0o644);
        let candidates = source.candidates().unwrap();
        for _ in 0..50 {
            let name = candidates.next().unwrap();
            let (one, other) = name.split_once('-').unwrap();
            assert!(
                [one, other].iter().all(|it| ["red", "fox"].contains(it)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_program_gives_what_it_prints() {
        let (_folder, source) = file("#!/bin/sh\necho frodo\n", 0o755);
        assert_eq!(source.candidates().unwrap().next().unwrap(), "frodo");
        let (_folder, source) = file("#!/bin/sh\necho no >&2; exit 3\n", 0o755);
        let error = source.candidates().unwrap().next().unwrap_err();
        assert!(error.message.contains("`namegen_path`"), "{error:?}");
        assert!(error.causes.join(" ").contains("no"), "{error:?}");
    }

    #[test]
    fn a_list_without_words_is_reported_with_a_hint() {
        let (_folder, empty) = file("# nothing\n", 0o644);
        let gone = NameSource::File("/none/such".into());
        for source in [empty, gone] {
            let error = source.candidates().unwrap_err();
            assert_eq!(error.hints, ["name the VM yourself: banger vm create NAME"]);
        }
    }
}
