//! What the screen shows, and how it changes: state, and [`Model::update`], which is pure. What is to
//! be done outside is returned as [`Effect`]s.

mod act;
mod actions;
pub(crate) mod dialog;
mod events;
pub(crate) mod form;
mod input;
pub(crate) mod keys;
pub(crate) mod layout;
pub(crate) mod message;
mod mouse;
pub(crate) mod notices;
pub(crate) mod operations;
pub(crate) mod ports;
mod settings;
pub(crate) mod text;
mod usages;
pub(crate) mod vms;

#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use banger_api::{DaemonView, DiskView, Error, ImageView, Phase, Report, VmId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::layout::Rect;
use tui_input::Input;

pub(crate) use mouse::tab_width;
pub(crate) use settings::{Look, Preferences};

use dialog::Overlay;
use keys::{KeyTable, Scope};
use layout::Rooms;
use message::{Answer, Defaults, Effect, Message, Question, Source};
use notices::{Notices, Tone};
use operations::Operations;
use ports::Ports;
use text::Text;
use usages::Usages;
use vms::Vms;

/// Whether the daemon answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Link {
    /// Not yet.
    Pending,
    /// Its events flow.
    Up,
    /// No longer: what is shown is how things were then.
    Lost {
        /// Why.
        error: Error,
        /// Since when.
        since: Timestamp,
    },
}

/// What the screen is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tab {
    /// The VMs.
    #[default]
    Vms,
    /// The images.
    Images,
    /// The daemon.
    Daemon,
    /// The checks of the host.
    Doctor,
}

impl Tab {
    /// All tabs, in order.
    pub(crate) const ALL: [Self; 4] = [Self::Vms, Self::Images, Self::Daemon, Self::Doctor];

    /// Its title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Vms => "VMs",
            Self::Images => "images",
            Self::Daemon => "daemon",
            Self::Doctor => "doctor",
        }
    }
}

/// What is shown of the selected VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pane {
    /// Its settings and its state.
    #[default]
    Details,
    /// What it uses.
    Usage,
    /// What listens in it.
    Ports,
    /// What happened to it.
    Events,
    /// Its console.
    Console,
    /// Its hypervisor's log.
    Hypervisor,
}

impl Pane {
    /// All panes, in order.
    pub(crate) const ALL: [Self; 6] = [
        Self::Details,
        Self::Usage,
        Self::Ports,
        Self::Events,
        Self::Console,
        Self::Hypervisor,
    ];

    /// Its title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Details => "details",
            Self::Usage => "usage",
            Self::Ports => "ports",
            Self::Events => "events",
            Self::Console => "console",
            Self::Hypervisor => "hypervisor",
        }
    }

    /// Whether it is text with lines.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Console | Self::Hypervisor)
    }

    /// Whether it shows graphs.
    pub(crate) fn has_graphs(self) -> bool {
        matches!(self, Self::Details | Self::Usage)
    }
}

/// A list that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct List<T> {
    /// What came; nothing before the first answer.
    pub(crate) items: Option<Vec<T>>,
    /// Why the last answer is an error.
    pub(crate) error: Option<Error>,
    /// The line under the cursor.
    pub(crate) at: usize,
    /// Whether an answer is awaited.
    pub(crate) asked: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            items: None,
            error: None,
            at: 0,
            asked: false,
        }
    }
}

impl<T> List<T> {
    fn take(&mut self, answer: Result<Vec<T>, Error>) {
        self.asked = false;
        match answer {
            Ok(items) => {
                self.at = self.at.min(items.len().saturating_sub(1));
                self.items = Some(items);
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
    }

    /// The one under the cursor.
    pub(crate) fn selected(&self) -> Option<&T> {
        self.items.as_ref()?.get(self.at)
    }

    fn move_by(&mut self, lines: isize) {
        let last = self.items.as_ref().map_or(0, Vec::len).saturating_sub(1);
        self.at = self.at.saturating_add_signed(lines).min(last);
    }
}

/// What the user types into at the list or the text.
#[derive(Debug, Clone)]
pub(crate) enum Typing {
    /// The filter of the list.
    Filter(Input),
    /// The search in the text.
    Search(Input),
}

/// Everything that the screen shows.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) now: Timestamp,
    /// The user's time zone.
    pub(crate) zone: TimeZone,
    pub(crate) size: (u16, u16),
    pub(crate) link: Link,
    pub(crate) daemon: Option<DaemonView>,
    pub(crate) vms: Vms,
    pub(crate) operations: Operations,
    pub(crate) usages: Usages,
    pub(crate) ports: Ports,
    pub(crate) notices: Notices,
    pub(crate) tab: Tab,
    pub(crate) pane: Pane,
    /// Whether the pane has the keys, and not the list.
    pub(crate) pane_focus: bool,
    pub(crate) zoom: bool,
    /// The first line of details or events that is shown.
    pub(crate) pane_scroll: u16,
    /// The first row of the list that is shown.
    pub(crate) list_top: usize,
    pub(crate) typing: Option<Typing>,
    pub(crate) overlay: Option<Overlay>,
    /// The console of the selected VM, or the daemon's log.
    pub(crate) text: Text,
    /// What the text is of, and how it ended.
    pub(crate) source: Option<Source>,
    pub(crate) source_end: Option<String>,
    pub(crate) images: List<ImageView>,
    pub(crate) checks: List<banger_api::CheckReport>,
    /// The selected VM's disks.
    pub(crate) disks: Option<(VmId, Vec<DiskView>)>,
    pub(crate) defaults: Option<Defaults>,
    pub(crate) keys: KeyTable,
    pub(crate) mouse: bool,
    pub(crate) look: Look,
    /// How many jobs of ours are under way.
    pub(crate) jobs: usize,
    /// The VM that is to be selected when it comes: the one that we create.
    awaited: Option<String>,
}

impl Model {
    /// The model at the start, with what was kept from the last run.
    pub(crate) fn new(now: Timestamp, keys: KeyTable, look: Look, kept: &Preferences) -> Self {
        let mut vms = Vms::default();
        vms.show(|vms| {
            vms.sort = kept.sort;
            vms.reverse = kept.reverse;
            vms.hide_stopped = kept.hide_stopped;
        });
        vms.set_filter(&kept.filter);
        Self {
            now,
            zone: TimeZone::UTC,
            size: (80, 24),
            link: Link::Pending,
            daemon: None,
            vms,
            operations: Operations::default(),
            usages: Usages::default(),
            ports: Ports::default(),
            notices: Notices::default(),
            tab: kept.tab,
            pane: kept.pane,
            pane_focus: false,
            zoom: false,
            pane_scroll: 0,
            list_top: 0,
            typing: None,
            overlay: None,
            text: Text::new(),
            source: None,
            source_end: None,
            images: List::default(),
            checks: List::default(),
            disks: None,
            defaults: None,
            keys,
            mouse: kept.mouse,
            look,
            jobs: 0,
            awaited: None,
        }
    }

    /// What is kept for the next run.
    pub(crate) fn kept(&self) -> Preferences {
        Preferences {
            tab: self.tab,
            pane: self.pane,
            sort: self.vms.sort,
            reverse: self.vms.reverse,
            hide_stopped: self.vms.hide_stopped,
            filter: self.vms.filter().to_owned(),
            mouse: self.mouse,
        }
    }

    /// Takes a message in, and returns what is to be done outside.
    pub(crate) fn update(&mut self, message: Message, now: Timestamp) -> Vec<Effect> {
        self.now = now;
        let mut effects = match message {
            Message::Key(key) => self.key(key),
            Message::Mouse(event) => self.mouse_event(event),
            Message::Paste(text) => self.paste(&text),
            Message::Size(width, height) => {
                self.size = (width, height);
                Vec::new()
            }
            Message::Tick => Vec::new(),
            Message::Linked(daemon) => self.linked(*daemon),
            Message::Event(event) => self.event(*event),
            Message::Lost(error) => self.lost(error),
            Message::Ended(job, outcome) => self.ended(&job, outcome),
            Message::Answer(answer) => self.answer(answer),
            Message::Measured(id, stats) => self.measured(id, stats).into_iter().collect(),
            Message::Piece(source, piece) => {
                if self.source == Some(source) {
                    self.text.add(&piece);
                }
                Vec::new()
            }
            Message::SourceEnded(source, error) => {
                if self.source == Some(source) {
                    let why = error.map_or_else(|| "the end".to_owned(), |it| it.to_string());
                    self.source_end = Some(why);
                }
                Vec::new()
            }
            Message::Returned(outcome) => {
                if let Err(error) = outcome {
                    self.notices.fail(&error, now);
                }
                self.refreshed()
            }
            Message::Note(error) => {
                self.notices.fail(&error, now);
                Vec::new()
            }
        };
        effects.extend(self.sources());
        self.fit();
        effects.extend(self.measurements());
        effects
    }

    fn answer(&mut self, answer: Answer) -> Vec<Effect> {
        match answer {
            Answer::Vm(id, Ok(vm)) => self.disks = Some((id, vm.disks)),
            // It may have gone meanwhile, which its event tells.
            Answer::Vm(_, Err(_)) => {}
            Answer::Ports(id, ports) => self.ports_answered(id, ports),
            Answer::Images(images) => self.images.take(images),
            Answer::Daemon(Ok(daemon)) => self.daemon = Some(*daemon),
            Answer::Daemon(Err(error)) => self.notices.fail(&error, self.now),
            Answer::Doctor(report) => self.checks.take(report.map(|it: Report| it.checks)),
            Answer::Defaults(defaults) => self.defaults = Some(defaults),
        }
        Vec::new()
    }

    /// What is asked when a tab is opened, or again.
    fn refreshed(&mut self) -> Vec<Effect> {
        if self.link != Link::Up {
            return Vec::new();
        }
        let question = match self.tab {
            Tab::Vms => {
                self.ports.of = None;
                return Vec::new();
            }
            Tab::Images => {
                self.images.asked = true;
                Question::Images
            }
            Tab::Daemon => Question::Daemon,
            Tab::Doctor => {
                self.checks.asked = true;
                Question::Doctor
            }
        };
        vec![Effect::Ask(question)]
    }

    /// Follows what the screen shows, and asks for the disks of the VM that it shows.
    fn sources(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let selected = self.vms.selected().map(|vm| vm.id);
        let wanted = match (self.tab, self.pane) {
            (Tab::Vms, Pane::Console) => selected.map(Source::Console),
            (Tab::Vms, Pane::Hypervisor) => selected.map(Source::Hypervisor),
            (Tab::Daemon, _) => Some(Source::Daemon),
            _ => None,
        };
        if wanted != self.source {
            self.source = wanted;
            self.source_end = None;
            self.text = Text::new();
            effects.push(Effect::Follow(wanted));
        }
        let shows_disks = self.tab == Tab::Vms && self.pane == Pane::Details;
        if shows_disks
            && self.link == Link::Up
            && let Some(id) = selected
            && self.disks.as_ref().is_none_or(|it| it.0 != id)
        {
            self.disks = Some((id, Vec::new()));
            self.pane_scroll = 0;
            effects.push(Effect::Ask(Question::Vm(id)));
        }
        effects.extend(self.ask_for_ports());
        effects
    }

    /// Where things are on the screen.
    pub(crate) fn rooms(&self) -> Rooms {
        let area = Rect::new(0, 0, self.size.0, self.size.1);
        let has_pane = self.tab == Tab::Vms;
        layout::rooms(area, self.zoom, has_pane)
    }

    /// The height of the text that scrolls.
    pub(crate) fn text_height(&self) -> usize {
        let rooms = self.rooms();
        match self.tab {
            Tab::Daemon => usize::from(layout::daemon_log(rooms.list).height.saturating_sub(2)),
            Tab::Vms | Tab::Images | Tab::Doctor => usize::from(rooms.pane_rows().height),
        }
    }

    /// Scrolls so that cursors are on the screen.
    fn fit(&mut self) {
        let height = usize::from(self.rooms().list_rows().height).max(1);
        let at = self.vms.position().unwrap_or(0);
        let lowest = (at + 1).saturating_sub(height);
        let last_top = self.vms.shown().len().saturating_sub(height);
        self.list_top = self
            .list_top
            .clamp(lowest, at.max(lowest))
            .min(last_top.max(lowest));
        let height = self.text_height();
        self.text.fit(height);
    }

    /// Which keys have a meaning of their own now.
    pub(crate) fn scope(&self) -> Scope {
        match self.tab {
            Tab::Vms if self.pane_focus || self.zoom => match self.pane {
                Pane::Ports => Scope::Ports,
                _ => Scope::Text,
            },
            Tab::Vms => Scope::Vms,
            Tab::Images => Scope::Images,
            Tab::Daemon => Scope::Text,
            Tab::Doctor => Scope::Doctor,
        }
    }

    /// Whether the keys that scroll go to text with lines, and not to details.
    fn is_in_text(&self) -> bool {
        self.scope() == Scope::Text && (self.tab == Tab::Daemon || self.pane.is_text())
    }

    /// After how long what is drawn is old; none while nothing on the screen changes by itself.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        let is_moving = self.operations.running().next().is_some()
            || self.notices.standing(self.now).is_some()
            || matches!(self.link, Link::Lost { .. });
        if is_moving {
            return Some(Duration::from_secs(1));
        }
        let running = self.vms.all().filter(|vm| vm.phase == Phase::Running);
        let youngest = running.filter_map(|vm| vm.started).max()?;
        let age = self.now.as_second().saturating_sub(youngest.as_second());
        // An uptime is told in its largest unit.
        Some(Duration::from_secs(if age < 60 { 1 } else { 30 }))
    }

    /// Tells something.
    fn say(&mut self, tone: Tone, line: impl Into<String>) {
        self.notices.say(tone, line, self.now);
    }
}
