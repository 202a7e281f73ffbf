//! `-`: a tar archive on standard input or standard output.

mod content;
mod names;
mod read;
mod write;

use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Write as _};

use banger_api::{Code, Error, VmRef};
use banger_copy::{CopyError, NoWatch, Report, Request, SendOptions, Sender, Verb};

use super::bar::Bar;
use super::guest::{failed, open};
use super::{Cp, location};
use crate::session::Session;

/// What is read or written at once, in bytes.
const PIECE: usize = 128 << 10;

/// Why an archive was not carried to its end.
#[derive(Debug)]
enum Broken {
    /// The copy.
    Copy(CopyError),
    /// The archive, or the file that it is read from or written to.
    Archive(io::Error),
}

impl From<CopyError> for Broken {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Archive(error)
    }
}

impl Broken {
    fn error(&self, vm: &VmRef, what: &str) -> Error {
        match self {
            Self::Copy(error) => failed(vm, error),
            Self::Archive(cause) => Error::new(Code::Host, what).cause(cause.to_string()),
        }
    }
}

impl Cp {
    /// Unpacks an archive from standard input in a directory of a VM.
    pub(super) fn unpack(
        &self,
        session: &Session,
        vm: &VmRef,
        destination: &[u8],
    ) -> Result<Report, Error> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(Error::new(Code::Invalid, "standard input is a terminal")
                .hint("pass a tar archive: tar c DIR | banger vm cp - NAME:DIR"));
        }
        let mut input = BufReader::with_capacity(PIECE, stdin.lock());
        is_archive(&mut input)?;
        let asked = [destination.to_vec(), Vec::new()];
        let request = Request {
            recursive: true,
            into: true,
            ..self.request(Verb::Push, 1, false)
        };
        let mut connection = open(session, vm, &asked, &request)?;
        let (mut bar, mut watch) = (Bar::new(session.output), NoWatch);
        let mut sender = Sender::new(&mut connection, &mut watch, SendOptions::default());
        let sent = read::send(&mut input, &mut sender, &mut bar)
            .and_then(|()| Ok(sender.finish()?))
            .map_err(|error| error.error(vm, "read the archive from standard input"));
        drop(bar);
        sent
    }

    /// Writes what is in a VM to standard output, as an archive.
    pub(super) fn pack(
        &self,
        session: &Session,
        vm: &VmRef,
        sources: &[Vec<u8>],
    ) -> Result<Report, Error> {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(
                Error::new(Code::Invalid, "a tar archive is not for a terminal")
                    .hint("redirect it: banger vm cp NAME:DIR - >FILE.tar"),
            );
        }
        let mut bar = Bar::new(session.output);
        let request = Request {
            recursive: true,
            into: false,
            ..self.request(Verb::Pull, sources.len(), bar.is_shown())
        };
        let mut connection = open(session, vm, sources, &request)?;
        let names = sources.iter().map(|it| location::name_in_vm(it)).collect();
        let mut output = BufWriter::with_capacity(PIECE, stdout.lock());
        let written = write::receive(&mut connection, &mut output, names, &mut bar)
            .and_then(|report| Ok(output.flush().map(|()| report)?))
            .map_err(|error| error.error(vm, "write the archive to standard output"));
        drop(bar);
        written
    }
}

/// Requires that what comes is an archive, as far as its first bytes tell.
fn is_archive(input: &mut impl BufRead) -> Result<(), Error> {
    let error = || Error::new(Code::Invalid, "standard input is not a tar archive");
    let first = input
        .fill_buf()
        .map_err(|cause| error().cause(cause.to_string()))?;
    if first.is_empty() {
        return Err(error().cause("it is empty"));
    }
    for (magic, program) in [
        (&[0x1f, 0x8b][..], "gunzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "unzstd"),
        (b"BZh", "bunzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "unxz"),
    ] {
        if first.starts_with(magic) {
            return Err(error()
                .cause("it is compressed")
                .hint(format!("{program} <FILE | banger vm cp - NAME:DIR")));
        }
    }
    Ok(())
}
