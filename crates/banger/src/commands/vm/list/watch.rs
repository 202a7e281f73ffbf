//! `banger vm list --watch`: the list as it changes, with what the VMs use.

use std::collections::BTreeMap;
use std::io::Write as _;
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
struct Watched {
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
    let mut watched = Watched::default();
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
            let running = vms.iter().filter(|vm| vm.phase == Phase::Running);
            let wanted: Vec<_> = running.map(|vm| (vm.id, SLOW)).take(rows()).collect();
            sampler.want(&wanted);
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

impl Watched {
    /// Takes news in, and returns whether anything is otherwise. At the end, returns why.
    fn take(&mut self, news: News) -> Result<bool, Option<Error>> {
        let event = match news {
            News::Event(event) => event,
            News::Ended(error) => return Err(error),
            News::Measured(id, stats) => {
                let runs = self
                    .vms
                    .get(&id)
                    .is_some_and(|vm| vm.phase == Phase::Running);
                if runs {
                    self.usages.entry(id).or_default().take(*stats);
                }
                return Ok(runs);
            }
        };
        match event.change {
            Change::Snapshot(snapshot) => {
                self.vms = snapshot.vms.into_iter().map(|vm| (vm.id, vm)).collect();
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

/// The rows of the terminal.
fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(24, |it| usize::from(it.ws_row)).max(2)
}

/// Draws over what was there. Lines that are too long for the terminal are cut by it.
fn draw(text: &str) -> std::io::Result<()> {
    let rows = rows();
    let lines: Vec<&str> = text.lines().collect();
    let mut screen = "\x1b[?7l\x1b[H".to_owned();
    let fits = lines.len() < rows;
    let shown = if fits { lines.len() } else { rows - 2 };
    for line in &lines[..shown] {
        screen += line;
        screen += "\x1b[K\n";
    }
    if !fits {
        screen += &format!("… and {} more\x1b[K\n", lines.len() - shown);
    }
    screen += "\x1b[J\x1b[?7h";
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(screen.as_bytes())?;
    stdout.flush()
}

/// The cells of what a VM uses.
pub(super) fn usage_cells(history: Option<&History>) -> [String; 2] {
    let cell = |curve| match part(history, curve, true) {
        nothing if nothing.is_empty() => "-".to_owned(),
        text => text,
    };
    let [cpu, memory, ..] = &CURVES;
    [cell(cpu), cell(memory)]
}
