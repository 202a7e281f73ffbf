//! Runs a verb on several VMs in parallel.
//!
//! Each of a few threads takes the next VM, sends the request, and waits. The main thread does all
//! printing. The daemon limits the number of simultaneous boots: further starts wait there, and
//! their timeout begins when their boot does.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use banger_api::client::Client;
use banger_api::{Progress, Result, VmRef};
use clap::Args;
use serde::Serialize;

use super::outcomes::{Description, Outcomes};
use super::selection::{Scope, Selection, Target};
use crate::failure::Outcome;
use crate::interrupt;
use crate::progress::VmSteps;
use crate::session::Session;

/// The VMs that a verb is about, and how many of them at the same time.
#[derive(Debug, Args)]
pub(crate) struct Several {
    #[command(flatten)]
    pub(crate) which: Selection,

    #[command(flatten)]
    pub(crate) parallel: Parallel,
}

/// How many VMs a verb is at work on at the same time.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Parallel {
    /// Work on at most this many VMs at the same time, 1 to 64 [default: 16].
    #[arg(id = "parallel", long = "parallel", value_name = "COUNT")]
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) count: Option<u32>,
}

impl Parallel {
    /// As many lines as a terminal of 24 has room for.
    const DEFAULT: usize = 16;

    fn count(self) -> usize {
        let count = self.count.and_then(|count| usize::try_from(count).ok());
        count.unwrap_or(Self::DEFAULT)
    }
}

/// The report of a thread on the VM with this number.
enum Report<T> {
    Began(usize),
    Step(usize, Progress),
    Ended(usize, Result<T>),
}

impl Several {
    /// Runs `work` for each VM, and prints each outcome.
    pub(crate) fn each<T: Serialize + Send>(
        &self,
        session: &Session,
        scope: Scope,
        work: impl Fn(&Client, &VmRef, &mut dyn FnMut(Progress)) -> Result<T> + Sync,
        sender: impl Fn(&T, bool) -> Description,
    ) -> Outcome {
        let targets = self.which.targets(session, scope)?;
        self.each_of(session, scope, &targets, work, sender)
    }

    /// Like [`Several::each`], for VMs that were looked up before.
    pub(crate) fn each_of<T: Serialize + Send>(
        &self,
        session: &Session,
        scope: Scope,
        targets: &[Target],
        work: impl Fn(&Client, &VmRef, &mut dyn FnMut(Progress)) -> Result<T> + Sync,
        sender: impl Fn(&T, bool) -> Description,
    ) -> Outcome {
        let mut outcomes = Outcomes::new(session.output, sender, targets.len());
        match targets {
            [] if session.output.json => session.output.value(&[(); 0])?,
            [] => session.output.text(&self.which.none(scope))?,
            [one] => {
                let outcome =
                    session.work(|daemon, progress| work(daemon, &one.reference, progress));
                outcomes.add(0, &one.name, outcome);
            }
            _ => {
                let socket = session.daemon()?.socket();
                side_by_side(
                    session,
                    socket,
                    targets,
                    self.parallel,
                    &work,
                    &mut outcomes,
                );
            }
        }
        if targets.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        outcomes.end()
    }
}

fn side_by_side<T: Serialize + Send>(
    session: &Session,
    socket: &Path,
    targets: &[Target],
    parallel: Parallel,
    work: &(impl Fn(&Client, &VmRef, &mut dyn FnMut(Progress)) -> Result<T> + Sync),
    outcomes: &mut Outcomes<T, impl Fn(&T, bool) -> Description>,
) {
    interrupt::note_that_the_daemon_continues();
    let mut steps = VmSteps::new(session.output, targets.iter().map(|it| it.name.as_str()));
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..targets.len().min(parallel.count()) {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(target) = targets.get(number) else {
                        return;
                    };
                    // The receiver lives until all threads have ended.
                    let _ = sender.send(Report::Began(number));
                    let outcome = Client::new(socket).and_then(|client| {
                        work(&client, &target.reference, &mut |progress| {
                            let _ = sender.send(Report::Step(number, progress));
                        })
                    });
                    let _ = sender.send(Report::Ended(number, outcome));
                }
            });
        }
        drop(sender);
        for report in receiver {
            match report {
                Report::Began(number) => steps.begin(&targets[number].name),
                Report::Step(number, progress) => steps.hear(&targets[number].name, &progress),
                Report::Ended(number, outcome) => {
                    let name = &targets[number].name;
                    steps.end(name);
                    steps.beside(|| outcomes.add(number, name, outcome));
                }
            }
        }
    });
}
