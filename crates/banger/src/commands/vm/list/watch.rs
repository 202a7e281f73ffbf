//! `banger vm list --watch`: the list as it changes, with what the VMs use.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use banger_api::client::Client;
use banger_api::{Change, Error, Event, Phase, StatsView, VmId, VmView};
use jiff::Timestamp;

use super::column::{Column, WIDE};
use super::{Format, List, Usages};
use crate::failure::Outcome;
use crate::session::Session;
use crate::usage::History;
use crate::usage::draw::{CURVES, part};
use crate::usage::sampler::{self, SLOW, Sampler};
use crate::usage::screen::{draw, rows};

/// The columns of a terminal of 80 columns, before what the VMs use.
const WATCHED: [Column; 6] = [
    Column::Name,
    Column::Phase,
    Column::Address,
    Column::Uptime,
    Column::Nat,
    Column::Image,
];

/// After so long an age on the screen is old.
const OLD: Duration = Duration::from_secs(30);
/// News that come so soon after others are shown with them.
const TOGETHER: Duration = Duration::from_millis(50);

/// What there is to know.
enum News {
    Event(Box<Event>),
    /// The events have ended: why, if it is an error.
    Ended(Option<Error>),
    Measured(VmId, Box<StatsView>),
}

/// The VMs, and what they use.
#[derive(Default)]
struct WatchState {
    vms: BTreeMap<VmId, VmView>,
    usages: Usages,
}

/// Prints the list, and again with each change, until the daemon stops.
pub(super) fn run(list: &List, session: &Session, format: Format) -> Outcome {
    session.daemon()?;
    crate::reader::leave_with_it();
    let (sender, news) = mpsc::channel();
    follow(session, sender.clone())?;
    let screen = session.output.terminal && matches!(format, Format::Table | Format::Wide);
    let sampler = Sampler::new();
    if screen {
        measure(session, &sampler, &sender);
    }
    drop(sender);
    let mut watched = WatchState::default();
    loop {
        let first = match news.recv_timeout(OLD) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) if screen => None,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(ExitCode::SUCCESS),
        };
        let deadline = Instant::now() + TOGETHER;
        let mut next = first;
        let mut changed = next.is_none();
        while let Some(it) = next {
            match watched.take(it) {
                Ok(is_change) => changed |= is_change,
                Err(None) => {
                    session.output.note("the daemon stopped");
                    return Ok(ExitCode::SUCCESS);
                }
                Err(Some(error)) => return Err(error.into()),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            next = news.recv_timeout(left).ok();
        }
        if !changed {
            continue;
        }
        let vms = list.selected(watched.by_name(), Timestamp::now());
        if screen {
            sampler.want(&seen(&vms, rows()));
            let columns: &[Column] = if format == Format::Wide {
                &WIDE
            } else {
                &WATCHED
            };
            let now = Timestamp::now();
            let text = list.table(&vms, columns, now, session.output, Some(&watched.usages));
            draw(&text)?;
        } else {
            list.print(&vms, format, session)?;
        }
    }
}

impl WatchState {
    /// Takes news in, and returns whether anything is otherwise. At the end, returns why.
    fn take(&mut self, news: News) -> Result<bool, Option<Error>> {
        let event = match news {
            News::Event(event) => event,
            News::Ended(error) => return Err(error),
            News::Measured(id, stats) => {
                let runs = self.vms.get(&id).is_some_and(runs);
                if runs {
                    self.usages.entry(id).or_default().take(*stats);
                }
                return Ok(runs);
            }
        };
        match event.change {
            Change::Snapshot(snapshot) => {
                self.vms = snapshot.vms.into_iter().map(|vm| (vm.id, vm)).collect();
                let vms = &self.vms;
                self.usages.retain(|id, _| vms.get(id).is_some_and(runs));
            }
            Change::Vm(vm) => {
                if vm.phase != Phase::Running {
                    self.usages.remove(&vm.id);
                }
                self.vms.insert(vm.id, *vm);
            }
            Change::Deleted { id, .. } => {
                self.vms.remove(&id);
                self.usages.remove(&id);
            }
            Change::Operation(_) => return Ok(false),
        }
        Ok(true)
    }

    fn by_name(&self) -> Vec<VmView> {
        let mut vms: Vec<_> = self.vms.values().cloned().collect();
        vms.sort_by(|a, b| a.name.cmp(&b.name));
        vms
    }
}

fn runs(vm: &VmView) -> bool {
    vm.phase == Phase::Running
}

/// The VMs that are measured: those that run, of the rows that are drawn.
fn seen(vms: &[VmView], rows: usize) -> Vec<(VmId, Duration)> {
    let drawn = vms.iter().take(rows);
    let running = drawn.filter(|vm| runs(vm));
    running.map(|vm| (vm.id, SLOW)).collect()
}

fn follow(session: &Session, sender: Sender<News>) -> banger_api::Result<()> {
    let client = Client::new(&session.places.location.socket)?;
    std::thread::spawn(move || {
        let error = read(&client, &sender).err();
        let _ = sender.send(News::Ended(error));
    });
    Ok(())
}

fn read(client: &Client, sender: &Sender<News>) -> banger_api::Result<()> {
    for event in client.events(None)? {
        if sender.send(News::Event(Box::new(event?))).is_err() {
            break;
        }
    }
    Ok(())
}

fn measure(session: &Session, sampler: &Sampler, sender: &Sender<News>) {
    for _ in 0..sampler::THREADS {
        let (sampler, sender) = (sampler.clone(), sender.clone());
        let socket = session.places.location.socket.clone();
        std::thread::spawn(move || {
            sampler.run(&socket, |id, stats| match stats {
                Ok(stats) => sender.send(News::Measured(id, Box::new(stats))).is_ok(),
                // It has stopped meanwhile, which its event tells.
                Err(_) => true,
            });
        });
    }
}

/// The cells of what a VM uses.
pub(super) fn usage_cells(history: Option<&History>, unicode: bool) -> [String; 2] {
    let cell = |curve| match part(history, curve, unicode) {
        nothing if nothing.is_empty() => "-".to_owned(),
        text => text,
    };
    let [cpu, memory, ..] = &CURVES;
    [cell(cpu), cell(memory)]
}

#[cfg(test)]
mod tests {
    use banger_api::Snapshot;

    use super::super::super::calm_otter;
    use super::*;
    use crate::usage::stats_at;

    fn vm(number: u32, phase: Phase) -> VmView {
        let mut vm = calm_otter();
        vm.id = VmId::from_bits(number);
        vm.phase = phase;
        vm
    }

    #[test]
    fn only_vms_in_the_rows_that_are_drawn_are_measured() {
        let vms = [
            vm(1, Phase::Running),
            vm(2, Phase::Stopped),
            vm(3, Phase::Running),
        ];
        let seen = |rows| {
            let seen = seen(&vms, rows).into_iter();
            seen.map(|it| it.0).collect::<Vec<_>>()
        };
        assert_eq!(seen(2), [VmId::from_bits(1)]);
        assert_eq!(seen(3), [1, 3].map(VmId::from_bits));
    }

    #[test]
    fn what_vms_used_is_forgotten_with_them() {
        let mut state = WatchState::default();
        let snapshot = |vms| {
            let change = Change::Snapshot(Snapshot {
                vms,
                ..Snapshot::default()
            });
            News::Event(Box::new(Event {
                seq: 1,
                at: Timestamp::UNIX_EPOCH,
                change,
            }))
        };
        let all = [1, 2, 3].map(|it| vm(it, Phase::Running)).to_vec();
        assert!(matches!(state.take(snapshot(all)), Ok(true)));
        for number in [1, 2, 3] {
            let news = News::Measured(VmId::from_bits(number), Box::new(stats_at(0, 0)));
            assert!(matches!(state.take(news), Ok(true)));
        }
        let fewer = vec![vm(1, Phase::Running), vm(2, Phase::Stopped)];
        assert!(matches!(state.take(snapshot(fewer)), Ok(true)));
        let left: Vec<_> = state.usages.keys().copied().collect();
        assert_eq!(left, [VmId::from_bits(1)]);
    }

    #[test]
    fn without_unicode_curves_are_ascii() {
        let mut history = History::default();
        for second in [0, 10] {
            history.take(stats_at(second, 1000));
        }
        for cell in usage_cells(Some(&history), false) {
            assert!(cell.is_ascii() && cell.contains('%'), "{cell}");
        }
        assert!(!usage_cells(Some(&history), true)[1].is_ascii());
    }
}
