//! What the screen shows, and how it changes: state, and [`Model::update`], which is pure. What is to
//! be done outside is returned as [`Effect`]s.

mod act;
mod actions;
mod bindings;
mod copies;
pub(crate) mod dialog;
mod drafts;
mod events;
pub(crate) mod form;
mod images;
mod input;
pub(crate) mod keys;
pub(crate) mod layout;
mod list;
pub(crate) mod message;
mod motion;
mod mouse;
pub(crate) mod notices;
pub(crate) mod operations;
mod place;
pub(crate) mod ports;
mod questions;
mod settings;
pub(crate) mod text;
mod trash;
mod usages;
mod verbs;
pub(crate) mod vms;
mod volumes;
pub(crate) mod words;

#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use banger_api::{DaemonView, DiskView, Error, ImageView, Phase, VmId, VmView, VolumeView};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::layout::Rect;
use tui_input::Input;

pub(crate) use list::List;
pub(crate) use mouse::tab_width;
pub(crate) use place::{Pane, Tab};
pub(crate) use settings::{Look, Preferences};

use dialog::Overlay;
use drafts::Drafts;
use keys::{KeyTable, Scope};
use layout::Rooms;
use message::{Defaults, Effect, Message, Source};
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
    /// The other machine whose VMs these are.
    pub(crate) host: Option<String>,
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
    /// The last line that can be the first one, by the last drawing.
    pub(crate) pane_end: u16,
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
    pub(crate) volumes: List<VolumeView>,
    /// The VMs in the trash, the last deleted first.
    pub(crate) trash: List<VmView>,
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
    drafts: Drafts,
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
            host: None,
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
            pane_end: 0,
            list_top: 0,
            typing: None,
            overlay: None,
            text: Text::new(),
            source: None,
            source_end: None,
            images: List::default(),
            volumes: List::default(),
            trash: List::default(),
            checks: List::default(),
            disks: None,
            defaults: None,
            keys,
            mouse: kept.mouse,
            look,
            jobs: 0,
            awaited: None,
            drafts: Drafts::default(),
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
                    self.fail(&error);
                }
                self.refreshed()
            }
            Message::Note(error) => {
                self.fail(&error);
                Vec::new()
            }
        };
        effects.extend(self.sources());
        self.vms.renew_order(now);
        self.fit();
        effects.extend(self.measurements());
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
            _ => usize::from(rooms.pane_rows().height),
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
            Tab::Volumes => Scope::Volumes,
            Tab::Trash => Scope::Trash,
            Tab::Daemon => Scope::Text,
            Tab::Doctor => Scope::Doctor,
        }
    }

    /// Whether the keys that scroll go to text with lines, and not to details.
    pub(crate) fn is_in_text(&self) -> bool {
        self.scope() == Scope::Text && (self.tab == Tab::Daemon || self.pane.is_text())
    }

    /// After how long what is drawn is old; none while nothing on the screen changes by itself.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        let is_moving = self.operations.running().next().is_some()
            || self.notices.standing(self.now).is_some()
            || matches!(self.link, Link::Lost { .. })
            || self.vms.is_order_old();
        if is_moving {
            return Some(Duration::from_secs(1));
        }
        let shows_ages = match self.tab {
            Tab::Vms => !self.vms.shown().is_empty(),
            Tab::Images | Tab::Trash | Tab::Daemon => true,
            Tab::Doctor | Tab::Volumes => false,
        };
        // An age is told in its largest unit; in seconds, only an uptime is followed.
        let is_young = self.tab == Tab::Vms && self.youngest_run().is_some_and(|it| it < 60);
        shows_ages.then(|| Duration::from_secs(if is_young { 1 } else { 30 }))
    }

    /// For how many seconds the VM that was started last has been running.
    fn youngest_run(&self) -> Option<i64> {
        let running = self.vms.all().filter(|vm| vm.phase == Phase::Running);
        let started = running.filter_map(|vm| vm.started).max()?;
        Some(self.now.as_second().saturating_sub(started.as_second()))
    }

    /// Tells an error. Commands in its hints are for the machine whose VMs these are.
    fn fail(&mut self, error: &Error) {
        let whole = self.for_host(&error.report());
        self.notices.fail(error, whole, self.now);
    }

    /// A text with its commands as they are typed on this machine.
    pub(crate) fn for_host(&self, text: &str) -> String {
        match &self.host {
            Some(host) => crate::output::commands_with(text, host),
            None => text.to_owned(),
        }
    }

    /// Tells something.
    fn say(&mut self, tone: Tone, line: impl Into<String>) {
        self.notices.say(tone, line, self.now);
    }
}
