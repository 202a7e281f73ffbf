//! The session of one command: the paths, the output, and a connection to the daemon on demand.

use std::cell::OnceCell;

use banger_api::client::Client;
use banger_api::{Code, DaemonView, Error, Progress, Result};

use crate::output::Output;
use crate::paths::Paths;
use crate::progress::Steps;
use crate::remote::Prompts;
use crate::{agreement, connect, interrupt};

/// The session of one command.
#[derive(Debug)]
pub(crate) struct Session {
    /// The paths of the daemon and its files.
    pub(crate) places: Paths,
    /// The output.
    pub(crate) output: Output,
    daemon: OnceCell<(Client, DaemonView)>,
}

impl Session {
    /// A session that is not connected yet.
    pub(crate) fn new(places: Paths, output: Output) -> Self {
        Self {
            places,
            output,
            daemon: OnceCell::new(),
        }
    }

    /// Connects to the daemon, and starts it if it is not running.
    ///
    /// # Errors
    /// It does not start or answer, or its settings differ from the user's options.
    pub(crate) fn daemon(&self) -> Result<&Client> {
        Ok(&self.connect()?.0)
    }

    /// The daemon's view at the time of the first connection.
    ///
    /// # Errors
    /// As [`Session::daemon`].
    pub(crate) fn daemon_view(&self) -> Result<&DaemonView> {
        Ok(&self.connect()?.1)
    }

    fn connect(&self) -> Result<&(Client, DaemonView)> {
        if let Some(daemon) = self.daemon.get() {
            return Ok(daemon);
        }
        let client = connect::or_start(&self.places, self.output)?;
        let view = client.daemon()?;
        agreement::is_meant(&view, &self.places)?;
        agreement::has_what_is_wanted(&view, &self.places)?;
        Ok(self.daemon.get_or_init(|| (client, view)))
    }

    /// The daemon and its view, if it is running. Its configuration and bundle may differ from the
    /// user's options.
    ///
    /// # Errors
    /// Its socket cannot be connected to, or its state directory differs from the user's.
    pub(crate) fn running_daemon(&self) -> Result<Option<(Client, DaemonView)>> {
        let Some(client) = connect::if_there(&self.places)? else {
            return Ok(None);
        };
        let view = client.daemon()?;
        agreement::is_meant(&view, &self.places)?;
        Ok(Some((client, view)))
    }

    /// Whether a question of a command that waits can be asked again after this error: the connection
    /// broke, and the daemon or its network may come back. That to another machine is opened again.
    pub(crate) fn can_ask_again(&self, error: &Error) -> bool {
        let is_broken = is_broken(error);
        if let (true, Some(remote)) = (is_broken, &self.places.remote) {
            // What is wrong there, the next question tells.
            let _ = remote.connect(Prompts::Refused);
        }
        is_broken
    }

    /// Runs a long request, and shows its steps. The daemon goes on after ^C.
    ///
    /// # Errors
    /// The daemon's error.
    pub(crate) fn work<T>(
        &self,
        verb: impl FnOnce(&Client, &mut dyn FnMut(Progress)) -> Result<T>,
    ) -> Result<T> {
        self.work_until(interrupt::note_that_the_daemon_continues, verb)
    }

    /// Runs a request that copies a disk, and shows its steps. The daemon gives it up after ^C.
    ///
    /// # Errors
    /// The daemon's error.
    pub(crate) fn copy<T>(
        &self,
        verb: impl FnOnce(&Client, &mut dyn FnMut(Progress)) -> Result<T>,
    ) -> Result<T> {
        self.work_until(interrupt::note_that_the_daemon_gives_up, verb)
    }

    fn work_until<T>(
        &self,
        watch_for_interruption: impl FnOnce(),
        verb: impl FnOnce(&Client, &mut dyn FnMut(Progress)) -> Result<T>,
    ) -> Result<T> {
        let client = self.daemon()?;
        watch_for_interruption();
        let mut steps = Steps::new(self.output);
        let outcome = verb(client, &mut |progress| steps.hear(&progress));
        steps.end();
        outcome
    }
}

/// Whether the connection broke. A request that the daemon has rejected would be rejected again.
pub(crate) fn is_broken(error: &Error) -> bool {
    matches!(error.code, Code::Internal | Code::NotReady)
}
