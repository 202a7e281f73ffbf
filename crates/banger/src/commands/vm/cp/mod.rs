//! `banger vm cp`: files into a VM and out of one, without SSH.

mod archive;
mod bar;
mod between;
mod guest;
mod location;
mod said;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use banger_api::{Code, Error, VmRef};
use banger_copy::{ReceiveOptions, Receiver, Report, Request, SendOptions, Sender, Target, Verb};
use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;
use location::{Sources, last_name};

pub(super) use bar::Bar;
pub(super) use guest::{failed, open, open_as};
pub(super) use location::Location;
pub(super) use said::{counts, said, troubles};

/// Copy files into a VM or out of one, without SSH.
///
/// It works while the VM boots, in rescue, and without any network. A path in a VM is NAME:PATH; relative paths begin at the user's home. Permissions, times, symbolic and hard links and holes are kept; devices, sockets and pipes are left out. If the destination is an existing directory, the source is copied into it under its own name; DIR/. copies the contents.
///
/// `-` as the only source is a tar archive on standard input, which is unpacked in a directory of the VM; as the destination it is one on standard output. Neither needs -r.
///
/// A file has its name only when it is complete. The part of a large file (16 MiB or more) that arrived before a copy was cut off stays beside it as .FILE.banger-partial, and the next copy continues from there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm cp notes.txt calm-otter:
  banger vm cp -r src calm-otter:/srv
  banger vm cp calm-otter:/etc/os-release .
  banger vm cp -r calm-otter:/var/log/. logs
  banger vm cp -r calm-otter:/srv/app brave-fox:/srv
  banger vm cp ./odd:name calm-otter:/tmp/
  git archive main | banger vm cp - calm-otter:/srv/app
  banger vm cp calm-otter:/srv/app - | gzip >app.tar.gz")]
pub(crate) struct Cp {
    /// The sources and, last, the destination: a path of this machine, NAME:PATH, or - for a tar archive.
    #[arg(
        value_name = "PATH",
        num_args = 2..,
        required = true,
        add = ArgValueCompleter::new(completion::places)
    )]
    paths: Vec<OsString>,

    /// Copy directories with everything in them.
    #[arg(long, short)]
    recursive: bool,

    /// Keep the numbers of owners and groups, and in the VM set-user-id and set-group-id.
    #[arg(long, short)]
    archive: bool,

    /// Act as this user of the VM, by name or number, instead of root.
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
        let is_packed = destination == Location::Stream;
        let report = match (Sources::of(places)?, destination) {
            (Sources::Stream, Location::InVm(vm, path)) => self.unpack(session, &vm, &path)?,
            (Sources::InVm(vm, sources), Location::Stream) => self.pack(session, &vm, &sources)?,
            (Sources::Here(paths), Location::InVm(vm, path)) => {
                self.push(session, &vm, &path, &paths)?
            }
            (Sources::InVm(vm, sources), Location::Here(path)) => {
                self.pull(session, path, &vm, &sources)?
            }
            (Sources::InVm(from, sources), Location::InVm(to, path)) => {
                self.between(session, (&from, &sources), (&to, &path))?
            }
            _ => return Err(location::no_vm().into()),
        };
        said(session, &report, is_packed)
    }

    fn request(&self, verb: Verb, sources: usize, watched: bool) -> Request {
        Request {
            verb,
            user: self.user.clone(),
            recursive: self.recursive,
            archive: self.archive,
            count: watched,
            into: sources > 1,
            ..Request::default()
        }
    }

    fn push(
        &self,
        session: &Session,
        vm: &VmRef,
        destination: &[u8],
        paths: &[PathBuf],
    ) -> Result<Report, Error> {
        let mut asked = vec![destination.to_vec()];
        for path in paths {
            self.require(path)?;
            asked.push(last_name(path.as_os_str()).unwrap_or_default());
        }
        let mut bar = Bar::new(session.output);
        let request = self.request(Verb::Push, paths.len(), bar.is_shown());
        let mut connection = open(session, vm, &asked, &request)?;
        let options = SendOptions {
            count: request.count,
            recursive: self.recursive,
        };
        let mut sender = Sender::new(&mut connection, &mut bar, options);
        let sent = sender.send_all(paths).and_then(|()| sender.finish());
        drop(bar);
        sent.map_err(|error| failed(vm, &error))
    }

    fn pull(
        &self,
        session: &Session,
        destination: PathBuf,
        vm: &VmRef,
        sources: &[Vec<u8>],
    ) -> Result<Report, Error> {
        let mut bar = Bar::new(session.output);
        let request = self.request(Verb::Pull, sources.len(), bar.is_shown());
        let mut connection = open(session, vm, sources, &request)?;
        let name = |source: &Vec<u8>| Some(OsString::from_vec(location::name_in_vm(source)?));
        let target = Target {
            path: destination,
            names: sources.iter().map(name).collect(),
            into: request.into,
            ..Target::default()
        };
        let options = ReceiveOptions {
            archive: self.archive,
            special: false,
            recursive: self.recursive,
            ..ReceiveOptions::default()
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
