//! Where the cursor goes: in lists, in text, between panes and tabs.

use tui_input::Input;

use super::keys::{Action, Scope};
use super::message::Effect;
use super::{Model, Pane, Tab, Typing};

impl Model {
    /// One step back: what is typed, the search, the marks, the pane, the message, the filter.
    pub(super) fn back(&mut self) -> Vec<Effect> {
        if self.is_in_text() && self.text.clear() {
        } else if self.zoom || self.pane_focus {
            (self.zoom, self.pane_focus) = (false, false);
        } else if self.vms.clear_marks() || self.notices.dismiss(self.now) {
        } else if self.tab == Tab::Vms {
            self.vms.set_filter("");
        } else {
            self.tab = Tab::Vms;
        }
        Vec::new()
    }

    /// Shows a tab, and asks for what is in it.
    pub(super) fn show_tab(&mut self, tab: Tab) -> Vec<Effect> {
        if self.tab == tab {
            return Vec::new();
        }
        self.tab = tab;
        self.typing = None;
        (self.zoom, self.pane_focus) = (false, false);
        self.refreshed()
    }

    /// Shows the next pane, or the previous one.
    pub(super) fn turn_pane(&mut self, forward: bool) {
        if self.tab != Tab::Vms {
            return;
        }
        let at = Pane::ALL
            .iter()
            .position(|it| *it == self.pane)
            .unwrap_or(0);
        let step = if forward { 1 } else { Pane::ALL.len() - 1 };
        self.pane = Pane::ALL[(at + step) % Pane::ALL.len()];
        self.pane_scroll = 0;
    }

    /// How far an action moves; none for one that does not move.
    pub(super) fn distance(&self, action: Action) -> Option<isize> {
        let page = match self.tab {
            Tab::Vms if !self.pane_focus => usize::from(self.rooms().list_rows().height),
            _ => self.text_height(),
        };
        let page = isize::try_from(page.max(2)).unwrap_or(2);
        Some(match action {
            Action::Up => -1,
            Action::Down => 1,
            Action::HalfUp => -page / 2,
            Action::HalfDown => page / 2,
            Action::PageUp => 1 - page,
            Action::PageDown => page - 1,
            Action::First => isize::MIN,
            Action::Last => isize::MAX,
            _ => return None,
        })
    }

    /// Moves the cursor of what has the keys.
    pub(super) fn scroll(&mut self, lines: isize) {
        if self.is_in_text() {
            match lines {
                isize::MIN => self.text.first(),
                isize::MAX => self.text.last(),
                _ => self.text.move_by(lines),
            }
            return;
        }
        match self.tab {
            Tab::Vms if self.scope() == Scope::Ports => self.ports.list.move_by(lines),
            Tab::Vms if self.pane_focus => {
                let at = usize::from(self.pane_scroll.min(self.pane_end));
                let moved = at.saturating_add_signed(lines);
                self.pane_scroll = u16::try_from(moved).unwrap_or(u16::MAX).min(self.pane_end);
            }
            Tab::Vms => self.vms.move_by(lines),
            Tab::Images => self.images.move_by(lines),
            Tab::Doctor => self.checks.move_by(lines),
            Tab::Volumes => self.volumes.move_by(lines),
            Tab::Trash => self.trash.move_by(lines),
            Tab::Daemon => {}
        }
    }

    /// Filters the list, or searches the text.
    pub(super) fn find(&mut self) {
        self.typing = if self.is_in_text() {
            Some(Typing::Search(Input::new(self.text.searched().to_owned())))
        } else if self.tab == Tab::Vms {
            self.pane_focus = false;
            Some(Typing::Filter(Input::new(self.vms.filter().to_owned())))
        } else {
            None
        };
    }
}
