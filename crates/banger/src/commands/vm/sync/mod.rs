//! `banger vm sync`: keeps a directory of a VM the same as one here.

mod batch;
mod follow;
mod plan;
mod rules;
mod tree;
mod watch;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use banger_api::{Code, Error, VmRef};
use banger_copy::{
    Connection, CopyError, RelativePath, Report, Request, SendOptions, Sender, Verb,
};
use clap::Args;
use serde::Serialize;

use super::cp::{Bar, Location, counts, failed, said, troubles};
use crate::failure::Outcome;
use crate::output::clean;
use crate::session::Session;
use batch::{Batch, BatchOptions, add_troubles};
use plan::{ByContent, Plan};
use rules::Rules;
use tree::{Root, Tree};

/// Keep a directory of a VM the same as one here.
///
/// It goes one way, from here into the VM, and sends what differs in size or time. What `.gitignore` and `.bangerignore` name is left out, and so is `.git`. Nothing is removed in the VM without --delete, and never what is ignored. A file is replaced at once: nobody in the VM sees half of one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm sync . calm-otter:/srv/app
  banger vm sync . calm-otter:/srv/app --watch --delete
  banger vm sync site calm-otter:www --exclude '*.map' --dry-run")]
pub(crate) struct Sync {
    /// The directory here; its contents are kept the same there.
    #[arg(value_name = "DIR")]
    source: PathBuf,

    /// The directory in the VM, NAME:DIR; it is made if it is not there.
    #[arg(value_name = "NAME:DIR")]
    destination: OsString,

    /// Continue with each change here, until ^C. A VM or a daemon that stops is waited for.
    #[arg(long, short, conflicts_with = "dry_run")]
    watch: bool,

    /// Remove in the VM what is not here, except what is ignored.
    #[arg(long)]
    delete: bool,

    /// Print what would be done, and do nothing.
    #[arg(long, short = 'n')]
    dry_run: bool,

    /// Leave out what matches, as a line of .gitignore; before all files of rules. Can be repeated.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,

    /// Compare files of the same size by their SHA-256 instead of their time.
    #[arg(long, short)]
    checksum: bool,

    /// Send .git, too.
    #[arg(long)]
    git: bool,

    /// Act as this user of the VM, by name or number, instead of root.
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
}

/// A directory here, one in a VM, and how they are kept the same.
struct SyncRun<'a> {
    session: &'a Session,
    /// The VM, as the user names it.
    vm: VmRef,
    /// The VM that is connected to. A watch has its id: a VM of the same name may be another one later.
    addressed: VmRef,
    path: PathBuf,
    there: Vec<u8>,
    request: Request,
    rules: Rules,
    options: BatchOptions,
}

/// What would be done.
#[derive(Debug, Serialize)]
struct Preview {
    /// What would be removed.
    remove: Vec<String>,
    /// What would get other permissions or another time.
    touch: Vec<String>,
    /// What would be sent.
    send: Vec<String>,
}

impl Sync {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let mut syncing = self.syncing(session)?;
        if self.watch {
            syncing.addressed = session.daemon()?.show(&syncing.vm)?.id.into();
            Self::follow(&syncing)?;
            return Ok(ExitCode::SUCCESS);
        }
        let root = syncing.open()?;
        let top = vec![RelativePath::default()];
        let tree = tree::read(&root, top, true, &syncing.rules, None);
        syncing.require_whole(&root, &tree)?;
        let mut connection = syncing.connect()?;
        let unsure = HashSet::new();
        let of_copy = |error: CopyError| failed(&syncing.vm, &error);
        if self.dry_run {
            let mut watch = banger_copy::NoWatch;
            let options = SendOptions::default();
            let mut sender = Sender::new(&mut connection, &mut watch, options);
            let mut batch =
                Batch::new(&mut sender, &root, &syncing.rules, syncing.options, &unsure);
            let plan = batch.plan(&tree).map_err(of_copy)?;
            return preview(session, &plan);
        }
        let done = syncing.carry(&mut connection, &root, &tree, &unsure);
        said(session, &done.map_err(of_copy)?.1, false)
    }

    fn syncing<'a>(&self, session: &'a Session) -> Result<SyncRun<'a>, Error> {
        let Location::InVm(vm, there) = Location::parse(&self.destination)? else {
            let error = Error::new(Code::Invalid, "the destination is not in a VM");
            return Err(match Location::parse(self.source.as_os_str()) {
                Ok(Location::InVm(..)) => error
                    .cause("a sync goes from here into a VM")
                    .hint("files from a VM: banger vm cp -r NAME:DIR/. DIR"),
                _ => error.hint("write it as NAME:DIR: banger vm sync DIR NAME:DIR"),
            });
        };
        if self.delete && is_whole(&there) {
            return Err(
                Error::new(Code::Invalid, "--delete is not for a whole home, nor for /")
                    .hint(format!("name a directory: {vm}:DIR")),
            );
        }
        let unreadable = |cause: std::io::Error| {
            Error::new(Code::NotFound, format!("read `{}`", self.source.display()))
                .cause(cause.to_string())
        };
        let path = self.source.canonicalize().map_err(unreadable)?;
        if !path.is_dir() {
            let shown = self.source.display();
            return Err(
                Error::new(Code::Invalid, format!("`{shown}` is not a directory"))
                    .hint(format!("a file: banger vm cp FILE {vm}:")),
            );
        }
        Ok(SyncRun {
            session,
            rules: Rules::new(&path, &self.exclude, self.git)?,
            addressed: vm.clone(),
            vm,
            path,
            there,
            request: Request {
                verb: Verb::Sync,
                user: self.user.clone(),
                recursive: true,
                dry: self.dry_run,
                delete: self.delete,
                ..Request::default()
            },
            options: BatchOptions {
                delete: self.delete,
                by_content: ByContent(self.checksum),
            },
        })
    }
}

/// Whether a path in a VM is a home, or the root, or may be one: `..` leads where the guest wants. The guest
/// looks again, at what the path leads to.
fn is_whole(path: &[u8]) -> bool {
    let parts = path.split(|byte| *byte == b'/');
    let mut parts = parts.filter(|part| !part.is_empty() && *part != b".");
    if parts.clone().any(|part| part == b"..") {
        return true;
    }
    match (parts.next(), parts.next()) {
        (None, _) => true,
        (Some(part), None) => part == b"~" || path.starts_with(b"/") && part == b"root",
        (Some(_), Some(_)) => false,
    }
}

impl SyncRun<'_> {
    fn open(&self) -> Result<Root, Error> {
        Root::open(&self.path).map_err(|cause| self.unreadable(&cause.to_string()))
    }

    fn unreadable(&self, reason: &str) -> Error {
        let shown = self.path.display();
        Error::new(Code::NotFound, format!("read `{shown}`")).cause(reason)
    }

    /// Requires that the directory was read, and is in its place still: what is not in another one, or in
    /// what lies below an unmounted disk, was not removed by anybody.
    fn require_whole(&self, root: &Root, tree: &Tree) -> Result<(), Error> {
        let is_there = root.is_at(&self.path);
        if !is_there.map_err(|cause| self.unreadable(&cause.to_string()))? {
            let shown = self.path.display();
            return Err(Error::new(
                Code::Conflict,
                format!("another directory is in the place of `{shown}`"),
            )
            .cause("it was replaced, or a disk was mounted or unmounted there")
            .hint("nothing was removed in the VM for that; run it again if this is the directory that is meant"));
        }
        match tree.failed.iter().find(|it| it.0.is_top()) {
            Some((_, reason)) => Err(self.unreadable(reason)),
            None => Ok(()),
        }
    }

    fn connect(&self) -> Result<Connection, Error> {
        let (vm, addressed) = (&self.vm, &self.addressed);
        let path = std::slice::from_ref(&self.there);
        super::cp::open_as(self.session, addressed, vm, path, &self.request).map_err(|error| {
            // What an older guest program says.
            if error.report().contains("unknown variant `sync`") {
                return Error::new(Code::Guest, format!("the guest program of `{vm}` is older"))
                    .hint(format!(
                        "a restart gives it the new one: banger vm restart {vm}"
                    ));
            }
            error
        })
    }

    /// Does one batch.
    fn carry(
        &self,
        connection: &mut Connection,
        root: &Root,
        tree: &Tree,
        unsure: &HashSet<RelativePath>,
    ) -> Result<(Plan, Report), CopyError> {
        let mut bar = Bar::new(self.session.output);
        let mut sender = Sender::new(connection, &mut bar, SendOptions::default());
        let mut batch = Batch::new(&mut sender, root, &self.rules, self.options, unsure);
        let plan = batch.plan(tree)?;
        batch.perform(&plan)?;
        add_troubles(sender.report(), tree);
        let report = sender.finish()?;
        Ok((plan, report))
    }

    /// Prints one line on a batch, and what failed.
    fn say_batch(&self, report: &Report) -> Result<(), Error> {
        let output = self.session.output;
        let printed = if output.json {
            output.value(report)
        } else if output.quiet {
            Ok(())
        } else {
            output.text(&counts(report))
        };
        printed.map_err(|cause| {
            Error::new(Code::Host, "write to standard output").cause(cause.to_string())
        })?;
        if report.failed > 0 {
            let differ = match report.failed {
                1 => "1 entry still differs".to_owned(),
                count => format!("{count} entries still differ"),
            };
            output.warning(&format!("{differ}: {}", troubles(report)));
        }
        Ok(())
    }
}

/// Prints what would be done.
fn preview(session: &Session, plan: &Plan) -> Outcome {
    let shown = |paths: &[RelativePath]| paths.iter().map(|it| clean(&it.to_string())).collect();
    let touched = plan.touch.iter().map(|(path, _)| clean(&path.to_string()));
    let preview = Preview {
        remove: shown(&plan.remove),
        touch: touched.collect(),
        send: shown(&plan.send),
    };
    session.output.result(&preview, || {
        let lines = |word: &str, paths: &[String]| -> String {
            paths
                .iter()
                .map(|path| format!("{word} {path}\n"))
                .collect()
        };
        let text = lines("remove", &preview.remove)
            + &lines("touch ", &preview.touch)
            + &lines("send  ", &preview.send);
        if text.is_empty() {
            "nothing differs".to_owned()
        } else {
            text
        }
    })?;
    for (path, reason) in &plan.refused {
        session.output.warning(&format!("{path}: {reason}"));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_and_the_root_are_not_emptied() {
        for path in [
            "", "~", "~/", "/", "//", ".", "./", "/root", "/root/", "/srv/..", "~/a/..", "..",
            "/..", "../etc", "a/../..",
        ] {
            assert!(is_whole(path.as_bytes()), "{path}");
        }
        for path in ["app", "/srv/app", "~/app", "/root/app", "/srv"] {
            assert!(!is_whole(path.as_bytes()), "{path}");
        }
    }
}
