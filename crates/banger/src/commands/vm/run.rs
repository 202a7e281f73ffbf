//! `banger vm run`.

use std::os::unix::net::UnixStream;

use banger_api::{DeleteVm, Result, VmRef, VmView};
use clap::Args;

use super::create::NewVm;
use super::exec::CommandLine;
use super::ssh::NOT_OF_THE_COMMAND;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::session::Session;

/// Create a VM, start it and run one command in it.
///
/// The command's exit status becomes that of banger, as with `vm exec`; 255 means that the VM could not be created, or not be deleted. The VM stays, and runs, unless --rm says otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm run --rm -- uname -a
  banger vm run --rm --nat -it -- bash
  tar c . | banger vm run --rm -i -- sh -c 'tar x && make test'
  banger vm run build-1 --vcpu 4 --memory 8G -- make")]
pub(crate) struct Run {
    #[command(flatten)]
    new: NewVm,

    /// Delete the VM, permanently, when the command has ended, however it ended.
    #[arg(long)]
    rm: bool,

    #[command(flatten)]
    command: CommandLine,
}

impl Run {
    /// Creates the VM, and runs the command.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        // Held until the VM is deleted: without it the daemon deletes the VM of a client that was killed.
        let (vm, _lifeline) = self.create(session).map_err(|error| {
            session.output.error(&error);
            Failure::Status(NOT_OF_THE_COMMAND)
        })?;
        // The id stays the same if the VM is renamed meanwhile.
        let vm: VmRef = vm.id.into();
        interrupt::leave_to_a_command();
        let outcome = self.command.run_in(&vm, session);
        if self.rm {
            let request = DeleteVm {
                force: true,
                purge: true,
            };
            let deleted = session.work(|daemon, progress| daemon.delete(&vm, &request, progress));
            if let Err(error) = deleted {
                session
                    .output
                    .error(&error.hint(format!("delete it: banger vm delete --force {vm}")));
                return Err(Failure::Status(NOT_OF_THE_COMMAND));
            }
        }
        outcome
    }

    /// Creates the VM; a temporary one comes with its guard.
    fn create(&self, session: &Session) -> Result<(VmView, Option<UnixStream>)> {
        if self.rm {
            let (vm, lifeline) = self.new.create_temporary(session)?;
            return Ok((vm, Some(lifeline)));
        }
        Ok((self.new.create(session, false)?, None))
    }
}
