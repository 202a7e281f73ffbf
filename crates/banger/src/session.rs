//! What every verb is given: the places, a way to print, and the daemon when it asks for it.

use std::cell::OnceCell;

use banger_api::Result;
use banger_api::client::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::output::Output;
use crate::places::Places;
use crate::progress::Steps;
use crate::{connect, interrupt};

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where the daemon and its files are.
    pub(crate) places: Places,
    /// How to print.
    pub(crate) output: Output,
    client: OnceCell<Client>,
}

impl Session {
    /// A run that has not spoken with the daemon yet.
    pub(crate) fn new(places: Places, output: Output) -> Self {
        Self {
            places,
            output,
            client: OnceCell::new(),
        }
    }

    /// The daemon, started when it is not there.
    ///
    /// # Errors
    /// When it does not start, or does not answer.
    pub(crate) fn daemon(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = connect::or_start(&self.places, self.output)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The daemon if it is there.
    ///
    /// # Errors
    /// When its socket cannot be reached, as that of another user.
    pub(crate) fn running_daemon(&self) -> Result<Option<Client>> {
        connect::if_there(&self.places)
    }

    /// Asks the daemon for what it answers at once.
    ///
    /// # Errors
    /// What the daemon says.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.daemon()?.get(path)
    }

    /// Asks the daemon for long work, and shows its steps.
    ///
    /// # Errors
    /// What the daemon says.
    pub(crate) fn work<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let client = self.daemon()?;
        interrupt::leave_the_daemon_to_it();
        let mut steps = Steps::new(self.output);
        let outcome = client.work(method, path, body, |progress| steps.hear(&progress));
        steps.end();
        outcome
    }
}
