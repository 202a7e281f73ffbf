//! What every verb gets: the paths, a way to print, and the daemon on request.

use std::cell::OnceCell;

use banger_api::client::Client;
use banger_api::{DaemonView, Progress, Result};

use crate::output::Output;
use crate::paths::Paths;
use crate::progress::Steps;
use crate::{agreement, connect, interrupt};

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where the daemon and its files are.
    pub(crate) places: Paths,
    /// How to print.
    pub(crate) output: Output,
    daemon: OnceCell<(Client, DaemonView)>,
}

impl Session {
    /// A run that has not spoken with the daemon yet.
    pub(crate) fn new(places: Paths, output: Output) -> Self {
        Self {
            places,
            output,
            daemon: OnceCell::new(),
        }
    }

    /// The daemon, started when it is not there.
    ///
    /// # Errors
    /// When it does not start or does not answer, or is another than the user asks for.
    pub(crate) fn daemon(&self) -> Result<&Client> {
        Ok(&self.introduced()?.0)
    }

    /// How the daemon was when it was first spoken with.
    ///
    /// # Errors
    /// As [`Session::daemon`].
    pub(crate) fn daemon_view(&self) -> Result<&DaemonView> {
        Ok(&self.introduced()?.1)
    }

    fn introduced(&self) -> Result<&(Client, DaemonView)> {
        if let Some(daemon) = self.daemon.get() {
            return Ok(daemon);
        }
        let client = connect::or_start(&self.places, self.output)?;
        let view = client.daemon()?;
        agreement::is_meant(&view, &self.places)?;
        agreement::has_what_is_wanted(&view, &self.places)?;
        Ok(self.daemon.get_or_init(|| (client, view)))
    }

    /// The daemon if it is there, with how it is. It may have another configuration or bundle than
    /// the user asks for now.
    ///
    /// # Errors
    /// When its socket cannot be reached, as that of another user, or its state directory is
    /// another than the user asks for.
    pub(crate) fn running_daemon(&self) -> Result<Option<(Client, DaemonView)>> {
        let Some(client) = connect::if_there(&self.places)? else {
            return Ok(None);
        };
        let view = client.daemon()?;
        agreement::is_meant(&view, &self.places)?;
        Ok(Some((client, view)))
    }

    /// Has the daemon do what takes a while, and shows its steps.
    ///
    /// # Errors
    /// What the daemon says.
    pub(crate) fn work<T>(
        &self,
        verb: impl FnOnce(&Client, &mut dyn FnMut(Progress)) -> Result<T>,
    ) -> Result<T> {
        let client = self.daemon()?;
        interrupt::leave_the_daemon_to_it();
        let mut steps = Steps::new(self.output);
        let outcome = verb(client, &mut |progress| steps.hear(&progress));
        steps.end();
        outcome
    }
}
