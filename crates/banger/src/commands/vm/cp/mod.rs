//! `banger vm cp`: files into a VM and out of one, without SSH.

mod bar;
mod location;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use banger_api::{Code, Error, VmRef};
use banger_copy::{
    Connection, CopyError, Frame, ReceiveOptions, Receiver, Report, Request, SendOptions, Sender,
    Target, Verb,
};
use clap::Args;
use indicatif::BinaryBytes;

use crate::failure::Outcome;
use crate::output::clean;
use crate::session::Session;
use bar::Bar;
use location::{Location, last_name};

/// Copy files into a VM or out of one, without SSH.
///
/// It works while the VM boots, in rescue, and without any network. A path in a VM is NAME:PATH; relative paths begin at the user's home. Permissions, times, symbolic and hard links and holes are kept; devices, sockets and pipes are left out. A directory that is there as the destination gets the source under its own name; DIR/. copies the contents.
///
/// A file has its name only when it is complete. The part of a large file (16 MiB or more) that arrived before a copy was cut off stays beside it as .FILE.banger-partial, and the next copy goes on from there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm cp notes.txt calm-otter:
  banger vm cp -r src calm-otter:/srv
  banger vm cp calm-otter:/etc/os-release .
  banger vm cp -r calm-otter:/var/log/. logs
  banger vm cp ./odd:name calm-otter:/tmp/")]
pub(crate) struct Cp {
    /// The sources and, last, the destination: a path of this machine, or NAME:PATH.
    #[arg(value_name = "PATH", num_args = 2.., required = true)]
    paths: Vec<OsString>,

    /// Copy directories with everything in them.
    #[arg(long, short)]
    recursive: bool,

    /// Keep the numbers of owners and groups, and in the VM set-user-id and set-group-id.
    #[arg(long, short)]
    archive: bool,

    /// Be this user of the VM, by name or number, instead of root.
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
}

impl Cp {
    /// Runs the copy.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let places = self.paths.iter().map(|it| Location::parse(it));
        let mut places = places.collect::<Result<Vec<_>, Error>>()?;
        let Some(destination) = places.pop() else {
            return Err(Error::new(Code::Invalid, "a destination is missing").into());
        };
        let report = match destination {
            Location::InVm(vm, path) => self.push(session, &vm, &path, &places)?,
            Location::Here(path) => self.pull(session, path, &places)?,
        };
        said(session, &report)
    }

    fn request(&self, verb: Verb, sources: usize, watched: bool) -> Request {
        Request {
            verb,
            user: self.user.clone(),
            recursive: self.recursive,
            archive: self.archive,
            count: watched,
            into: sources > 1,
        }
    }

    fn push(
        &self,
        session: &Session,
        vm: &VmRef,
        destination: &[u8],
        places: &[Location],
    ) -> Result<Report, Error> {
        let mut paths: Vec<&PathBuf> = Vec::new();
        let mut asked = vec![destination.to_vec()];
        for place in places {
            let Location::Here(path) = place else {
                return Err(between_vms());
            };
            self.require(path)?;
            asked.push(last_name(path.as_os_str()).unwrap_or_default());
            paths.push(path);
        }
        let mut bar = Bar::new(session.output);
        let request = self.request(Verb::Push, paths.len(), bar.is_shown());
        let mut connection = open(session, vm, &asked, &request)?;
        let options = SendOptions {
            count: request.count,
            recursive: self.recursive,
        };
        let mut sender = Sender::new(&mut connection, &mut bar, options);
        let sent = sender.send_all(&paths).and_then(|()| sender.finish());
        drop(bar);
        sent.map_err(|error| failed(vm, &error))
    }

    fn pull(
        &self,
        session: &Session,
        destination: PathBuf,
        places: &[Location],
    ) -> Result<Report, Error> {
        let mut of = None;
        let (mut asked, mut names) = (Vec::new(), Vec::new());
        for place in places {
            let Location::InVm(vm, path) = place else {
                return Err(Error::new(Code::Invalid, "none of the paths is in a VM")
                    .hint("write one as NAME:PATH: banger vm cp FILE NAME:DIR"));
            };
            if of.is_some_and(|other| other != vm) {
                return Err(Error::new(Code::Invalid, "the sources are in several VMs")
                    .hint("copy from one VM after the other"));
            }
            of = Some(vm);
            let path_here: OsString = std::os::unix::ffi::OsStringExt::from_vec(path.clone());
            let name = last_name(&path_here).filter(|name| name != b"~");
            names.push(name.map(std::os::unix::ffi::OsStringExt::from_vec));
            asked.push(path.clone());
        }
        let Some(vm) = of else {
            return Err(Error::new(Code::Invalid, "a source is missing"));
        };
        let mut bar = Bar::new(session.output);
        let request = self.request(Verb::Pull, asked.len(), bar.is_shown());
        let mut connection = open(session, vm, &asked, &request)?;
        let target = Target {
            path: destination,
            names,
            into: request.into,
        };
        let options = ReceiveOptions {
            archive: self.archive,
            special: false,
            recursive: self.recursive,
        };
        let received = Receiver::new(&mut connection, &mut bar, target, options).run();
        drop(bar);
        received.map_err(|error| failed(vm, &error))
    }

    /// Checks that the source exists on this machine.
    fn require(&self, path: &PathBuf) -> Result<(), Error> {
        let shown = path.display();
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() && !self.recursive => Err(Error::new(
                Code::Invalid,
                format!("`{shown}` is a directory"),
            )
            .hint("copy it with everything in it: -r")),
            Ok(_) => Ok(()),
            Err(cause) => {
                Err(Error::new(Code::NotFound, format!("read `{shown}`")).cause(cause.to_string()))
            }
        }
    }
}

fn between_vms() -> Error {
    Error::new(Code::Invalid, "one side of a copy is this machine")
        .hint("from VM to VM, copy to a directory here first")
}

/// Opens the connection, and sends the request.
fn open(
    session: &Session,
    vm: &VmRef,
    paths: &[Vec<u8>],
    request: &Request,
) -> Result<Connection, Error> {
    let stream = session.daemon()?.copy(vm).map_err(|error| {
        let is_older = error.report().contains("no streams of this kind");
        if is_older {
            error.hint(format!(
                "its guest program is older and comes anew with a restart: banger vm restart {vm}"
            ))
        } else {
            error
        }
    })?;
    let mut connection = Connection::new(stream.socket, stream.early);
    let json = serde_json::to_vec(request).map_err(|cause| {
        Error::new(Code::Internal, "write the request").cause(cause.to_string())
    })?;
    let mut ask = || {
        for path in paths {
            connection.send(&Frame::Path(path.clone()))?;
        }
        connection.send(&Frame::Request(json.clone()))?;
        connection.flush()?;
        match connection.expect()? {
            Frame::Accepted => Ok(()),
            Frame::Refusal(reason) => Err(CopyError::Stopped(reason)),
            _ => Err(CopyError::Broken("a frame came before the reply")),
        }
    };
    ask().map_err(|error| failed(vm, &error))?;
    Ok(connection)
}

fn failed(vm: &VmRef, error: &CopyError) -> Error {
    match error {
        CopyError::Stopped(reason) => {
            Error::new(Code::Guest, format!("copy with `{vm}`")).cause(clean(reason))
        }
        CopyError::Refused(reason) => {
            Error::new(Code::Host, format!("copy with `{vm}`")).cause(reason.as_str())
        }
        CopyError::Lost => Error::new(Code::Guest, "the connection was lost")
            .cause("the VM ended, its guest program restarted, or the daemon stopped")
            .hint("copy again: complete files are there, and large ones go on where they ended"),
        CopyError::Broken(_) => {
            Error::new(Code::Guest, format!("copy with `{vm}`")).cause(error.to_string())
        }
    }
}

/// Prints the outcome. Entries that failed are an error.
fn said(session: &Session, report: &Report) -> Outcome {
    let output = session.output;
    if output.json {
        output.value(report)?;
    } else if !output.quiet {
        let links = match report.links {
            0 => String::new(),
            links => format!(", {links} links"),
        };
        let directories = match report.directories {
            0 => String::new(),
            directories => format!(", {directories} new directories"),
        };
        let (files, size) = (report.files, BinaryBytes(report.bytes));
        output.text(&format!("{files} files{directories}{links}, {size}"))?;
    }
    for (count, what) in [
        (report.skipped, "devices, sockets and pipes were left out"),
        (report.changed, "files changed while they were copied"),
    ] {
        if count > 0 {
            output.warning(&format!("{count} {what}"));
        }
    }
    if report.failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let error = Error::new(
        Code::Host,
        format!("{} entries were not copied", report.failed),
    );
    let causes = report.problems.iter().take(8).map(|problem| {
        let path = if problem.path.is_empty() {
            "the source"
        } else {
            &problem.path
        };
        clean(&format!("{path}: {}", problem.reason))
    });
    Err(error.cause(causes.collect::<Vec<_>>().join("; ")).into())
}
