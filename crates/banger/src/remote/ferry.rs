//! Files between this machine and another one: `vm export` and `image export` write a file here,
//! `vm import` and `image import` read one.
//!
//! banger there works with a file in a temporary directory, which is removed however the command
//! ends. The file passes through ssh's master connection.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use serde::de::DeserializeOwned;

use super::{Prompts, Remote, master};
use crate::output::Output;
use crate::programs::{SshEnd, SshProcess};
use crate::progress::Wait;
use crate::quote;

/// Runs a command that writes the file `$1` of a new directory: its last argument. What the command
/// prints comes first, then the file.
const FETCH: &str = r#"name=$1; shift; umask 077
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/banger.XXXXXXXX") || exit
trap 'rm -rf "$folder"' EXIT; trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
"$@" "$folder/$name" && cat "$folder/$name""#;

/// Runs a command that reads the file `$1`, of `$2` bytes, from standard input. The command never
/// gets an incomplete file.
const SEND: &str = r#"name=$1; size=$2; shift 2; umask 077
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/banger.XXXXXXXX") || exit
trap 'rm -rf "$folder"' EXIT; trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
cat > "$folder/$name" || exit
[ "$(wc -c < "$folder/$name")" -eq "$size" ] || { echo "the file was cut off on its way" >&2; exit 1; }
"$@" "$folder/$name" < /dev/null"#;

/// The longest answer of a command, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;
/// The size of a block that becomes a hole if all of it is zero, in bytes.
const BLOCK: usize = 64 << 10;

impl Remote {
    /// Makes banger there write a file, by a verb whose last argument is that file, and writes it
    /// to `file` here. Returns the verb's answer.
    ///
    /// # Errors
    /// The verb's own error; `conflict` if the file exists and `force` is not set; or a failed
    /// transfer, after which nothing of the file is left.
    pub(crate) fn fetch<T: DeserializeOwned>(
        &self,
        verb: &[OsString],
        file: &Path,
        force: bool,
        output: Output,
    ) -> Result<T> {
        if !force && fs::symlink_metadata(file).is_ok() {
            return Err(
                Error::new(Code::Conflict, format!("`{}` exists", file.display()))
                    .hint("replace it: --force"),
            );
        }
        let wait = Wait::new(output, "wait for the other host");
        let command = self.script(FETCH, &["file".into()], verb);
        let (process, mut stream) =
            master::open(&self.files, &self.destination, &command, Prompts::Allowed)?;
        // The command has no input.
        let _ = stream.shutdown(Shutdown::Write);
        let Some(answer) = first_line(&mut stream) else {
            return Err(self.failure(&process.end()));
        };
        let answer = read_answer(&answer)?;
        let new = beside(file);
        let mut counted = wait.count(&mut stream, "fetch", None);
        let outcome = write_file(&mut counted, &new).and_then(|()| self.finish(process));
        let outcome = outcome
            .and_then(|()| fs::rename(&new, file).map_err(|cause| trouble("write", file, &cause)));
        if outcome.is_err() {
            let _ = fs::remove_file(&new);
        }
        outcome.map(|()| answer)
    }

    /// Sends a file, and makes banger there read it, by a verb whose last argument is that file.
    /// Returns the verb's answer.
    ///
    /// # Errors
    /// The verb's own error; or the file cannot be read, or the transfer failed.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        verb: &[OsString],
        file: &Path,
        output: Output,
    ) -> Result<T> {
        let mut source = File::open(file).map_err(|cause| trouble("read", file, &cause))?;
        let found = source
            .metadata()
            .map_err(|cause| trouble("read", file, &cause))?;
        if !found.is_file() {
            return Err(Error::new(
                Code::Invalid,
                format!(
                    "`{}` is not a file, and only a file is sent to `{}`",
                    file.display(),
                    self.name
                ),
            )
            .hint("pack it into one, such as a tar"));
        }
        let wait = Wait::new(output, "wait for the other host");
        let name = file
            .file_name()
            .map_or_else(|| "file".into(), OsStr::to_owned);
        let size = found.len();
        let command = self.script(SEND, &[name, size.to_string().into()], verb);
        let (process, mut stream) =
            master::open(&self.files, &self.destination, &command, Prompts::Allowed)?;
        // A command that ends early reports why.
        let part = Read::by_ref(&mut source).take(size);
        let _ = io::copy(&mut wait.count(part, "send", Some(size)), &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
        wait.turn_to("wait for the other host");
        let Some(answer) = first_line(&mut stream) else {
            return Err(self.failure(&process.end()));
        };
        drop(stream);
        self.finish(process)?;
        read_answer(&answer)
    }

    /// The command line that runs banger there within a script.
    fn script(&self, script: &str, arguments: &[OsString], verb: &[OsString]) -> OsString {
        let words = ["/bin/sh", "-c", script, "sh"].map(OsString::from);
        let banger = self.words(&[]);
        let json = [OsString::from("--json")];
        let words = words.iter().chain(arguments).chain(&banger).chain(&json);
        let mut command = OsString::from("exec ");
        command.push(quote::command_line(words.chain(verb)));
        command
    }

    fn finish(&self, process: SshProcess) -> Result<()> {
        let end = process.end();
        if end.status == Some(0) {
            return Ok(());
        }
        Err(self.failure(&end))
    }

    /// The verb's own error, if there is one.
    fn failure(&self, end: &SshEnd) -> Error {
        let lines = end.stderr.lines().rev();
        if let Some(error) = lines
            .clone()
            .find_map(|it| serde_json::from_str::<Error>(it).ok())
        {
            return error;
        }
        let error = Error::new(
            Code::Host,
            format!("pass a file between this machine and `{}`", self.name),
        );
        match lines.map(str::trim).find(|it| !it.is_empty()) {
            Some(line) => error.cause(line),
            None => error.cause("the connection ended"),
        }
    }
}

fn trouble(what: &str, file: &Path, cause: &io::Error) -> Error {
    Error::new(Code::Host, format!("{what} `{}`", file.display())).cause(cause.to_string())
}

/// A new file's name in the same directory.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    file.with_file_name(name)
}

fn read_answer<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|cause| {
        Error::new(Code::Internal, "read the answer of the banger there").cause(cause.to_string())
    })
}

/// The first line, if there is one. Nothing after it is read.
fn first_line(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LONGEST_ANSWER {
        match stream.read(&mut byte) {
            Ok(0) => return None,
            Ok(_) if byte[0] == b'\n' => return Some(line),
            Ok(_) => line.push(byte[0]),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    None
}

/// Writes a stream to a new file. Blocks of zeros become holes.
fn write_file(stream: &mut impl Read, path: &Path) -> Result<()> {
    let write = |stream: &mut dyn Read| -> io::Result<()> {
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let mut block = vec![0; BLOCK];
        let mut length = 0;
        loop {
            let read = fill(stream, &mut block)?;
            if block[..read].iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start(length))?;
                file.write_all(&block[..read])?;
            }
            length += read as u64;
            if read < BLOCK {
                file.set_len(length)?;
                return file.sync_all();
            }
        }
    };
    write(stream).map_err(|cause| trouble("write", path, &cause))
}

/// Reads until the block is full or the stream ends.
fn fill(stream: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match stream.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn zeros_become_holes_and_every_byte_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for tail in [0, 1, 100] {
            let mut bytes = vec![0; 40 * BLOCK];
            bytes[BLOCK + 7] = 1;
            bytes.extend(vec![0; tail]);
            write_file(&mut &bytes[..], &path).unwrap();
            assert!(fs::read(&path).unwrap() == bytes, "{tail}");
            let blocks = path.metadata().unwrap().blocks() * 512;
            assert!(blocks < bytes.len() as u64 / 4, "{blocks}");
        }
    }

    #[test]
    fn the_answer_ends_where_the_file_begins() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"a\":1}\n\nfile").unwrap();
        drop(theirs);
        assert_eq!(first_line(&mut ours).unwrap(), b"{\"a\":1}");
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"\nfile");
    }
}
