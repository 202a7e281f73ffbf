//! From a VM into a VM: this machine passes the bytes on, and unpacks nothing.

use banger_api::{Error, VmId, VmRef};
use banger_copy::{RelayError, Report, Verb, relay};

use super::bar::Bar;
use super::guest::{failed, open};
use super::{Cp, location};
use crate::session::Session;

impl Cp {
    /// Copies from one VM to another, or within one.
    pub(super) fn between(
        &self,
        session: &Session,
        (from, sources): (&VmRef, &[Vec<u8>]),
        (to, destination): (&VmRef, &[u8]),
    ) -> Result<Report, Error> {
        let mut bar = Bar::new(session.output);
        let count = sources.len();
        let mut request = self.request(Verb::Pull, count, bar.is_shown());
        if from == to || id(session, from)? == id(session, to)? {
            request.destination = Some(destination.to_vec());
        }
        let mut sender = open(session, from, sources, &request)?;
        let names = sources.iter();
        let names = names.map(|source| location::name_in_vm(source).unwrap_or_default());
        let mut asked = vec![destination.to_vec()];
        asked.extend(names);
        let mut receiver = open(session, to, &asked, &self.request(Verb::Push, count, false))?;
        let relayed = relay(&mut sender, &mut receiver, &mut bar);
        drop(bar);
        relayed.map_err(|error| match error {
            RelayError::Sender(error) => failed(from, &error),
            RelayError::Receiver(error) => failed(to, &error),
        })
    }
}

/// The id of a VM, which may be called by its name and by the beginning of its id.
fn id(session: &Session, vm: &VmRef) -> Result<VmId, Error> {
    Ok(session.daemon()?.show(vm)?.id)
}
