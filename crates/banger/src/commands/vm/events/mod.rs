//! `banger vm events`.

mod reader;

use std::process::ExitCode;

use banger_api::client::Client;
use banger_api::{Change, Code, Error, Event, VmRef};
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::tz::TimeZone;

use crate::completion;
use crate::failure::{Failure, Outcome};
use crate::session::{Session, is_broken};
use reader::Reader;

/// Show the state of all VMs, and with -f each change as it happens.
///
/// The first event is a snapshot of all VMs. The daemon keeps the newest 1024 events; --since
/// continues after one that you have read. With --json each event is one object, with its number in
/// `seq`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm events
  banger vm events -f
  banger vm events -f web db
  banger vm events -f --json | jq --unbuffered -r 'select(.vm) | [.at, .vm.name, .vm.phase] | @tsv'")]
pub(crate) struct Events {
    /// Only events of these VMs.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::vms))]
    names: Vec<VmRef>,

    /// Continue with each event as it comes, until ^C or the daemon stops.
    #[arg(long, short)]
    follow: bool,

    /// Continue after the event with this number, in place of a snapshot.
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
}

impl Events {
    /// Prints them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        if self.follow {
            crate::reader::leave_with_it();
        }
        let daemon = session.daemon()?;
        // The state of all VMs now, so that changes can be told from it.
        let first = daemon.events(None)?.next();
        let first = first.ok_or_else(|| {
            Error::new(Code::NotReady, "the daemon stopped before the first event")
        })??;
        let Change::Snapshot(snapshot) = &first.change else {
            return Err(Error::new(Code::Internal, "the daemon began without a snapshot").into());
        };
        let mut reader = Reader::new(&self.names, snapshot);
        if let Some(name) = self.names.iter().find(|name| !reader.knows(name))
            && !self.follow
        {
            return Err(
                Error::new(Code::NotFound, format!("there is no VM `{name}`"))
                    .hint("list all VMs: banger vm list")
                    .into(),
            );
        }
        let last = first.seq;
        if self.since.is_none() {
            self.print(&mut reader, first, session)?;
        } else {
            // The current state of the VMs is later than the first events.
            reader.vms.clear();
        }
        let since = self.since.unwrap_or(last);
        if !self.follow && since == last {
            return Ok(ExitCode::SUCCESS);
        }
        let mut read = since;
        while let Some(error) = self.read_on(daemon, &mut read, last, &mut reader, session)? {
            let remote = session.places.remote.as_ref();
            let Some(remote) = remote.filter(|_| self.follow && is_broken(&error)) else {
                return Err(error.into());
            };
            remote.return_to(session.output);
        }
        if !self.follow {
            return Ok(ExitCode::SUCCESS);
        }
        session.output.note(&format!(
            "the daemon stopped; to continue: banger vm events -f --since {read}"
        ));
        Ok(ExitCode::SUCCESS)
    }

    /// Prints the events after `read`, until the stream ends, or without -f until the event `last`.
    /// Returns the reason if the stream broke.
    fn read_on(
        &self,
        daemon: &Client,
        read: &mut u64,
        last: u64,
        reader: &mut Reader,
        session: &Session,
    ) -> Result<Option<Error>, Failure> {
        let events = match daemon.events(Some(*read)) {
            Ok(events) => events,
            Err(error) => return Ok(Some(error)),
        };
        for event in events {
            let event = match event {
                Ok(event) => event,
                Err(error) => return Ok(Some(error)),
            };
            *read = event.seq;
            self.print(reader, event, session)?;
            if !self.follow && *read >= last {
                break;
            }
        }
        Ok(None)
    }

    fn print(&self, reader: &mut Reader, event: Event, session: &Session) -> std::io::Result<()> {
        let Some(event) = reader.select(event) else {
            return Ok(());
        };
        if session.output.json {
            return session.output.value(&event);
        }
        let text = reader.text(&event, &TimeZone::system());
        if text.is_empty() {
            return Ok(());
        }
        session.output.text(&text)
    }
}
