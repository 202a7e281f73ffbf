//! The mouse: it selects, scrolls and opens what a key does, too.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::keys::Action;
use super::message::Effect;
use super::{Model, Pane, Tab};

/// How many lines a turn of the wheel scrolls.
const WHEEL: isize = 3;

impl Model {
    /// A click or a turn of the wheel. While something lies over the screen there is none.
    pub(super) fn mouse_event(&mut self, event: MouseEvent) -> Vec<Effect> {
        if self.overlay.is_some() {
            return Vec::new();
        }
        if !matches!(event.kind, MouseEventKind::Moved) {
            // The cursor stays where the user works.
            self.awaited = None;
        }
        let at = Position::new(event.column, event.row);
        let rooms = self.rooms();
        match event.kind {
            MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
                let lines = if event.kind == MouseEventKind::ScrollDown {
                    WHEEL
                } else {
                    -WHEEL
                };
                if self.tab == Tab::Vms {
                    self.pane_focus = rooms.pane.contains(at);
                }
                self.scroll(lines);
                Vec::new()
            }
            MouseEventKind::Down(MouseButton::Left) if rooms.head.contains(at) => {
                match head_tab(event.column) {
                    Some(Tab::Vms) => self.act(Action::TabVms),
                    Some(Tab::Images) => self.act(Action::TabImages),
                    Some(Tab::Daemon) => self.act(Action::TabDaemon),
                    Some(Tab::Doctor) => self.act(Action::TabDoctor),
                    Some(Tab::Volumes) => self.act(Action::TabVolumes),
                    Some(Tab::Trash) => self.act(Action::TabTrash),
                    None => Vec::new(),
                }
            }
            MouseEventKind::Down(MouseButton::Left) if rooms.pane.contains(at) => {
                self.pane_focus = true;
                if event.row == rooms.pane.y {
                    self.pane_scroll = 0;
                    self.pane =
                        pane_at(event.column.saturating_sub(rooms.pane.x)).unwrap_or(self.pane);
                }
                Vec::new()
            }
            MouseEventKind::Down(MouseButton::Left) if rooms.list_rows().contains(at) => {
                self.pane_focus = false;
                let row = usize::from(event.row - rooms.list_rows().y);
                self.click_row(row);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn click_row(&mut self, row: usize) {
        match self.tab {
            Tab::Vms if self.list_top + row < self.vms.shown().len() => {
                self.vms.select_line(self.list_top + row);
            }
            _ => {}
        }
    }
}

/// The width of a tab's title in the head: a digit, a blank, the word, two blanks.
pub(crate) fn tab_width(tab: Tab) -> u16 {
    let word = u16::try_from(tab.title().len()).unwrap_or(0);
    word + 4
}

/// The tab at a column of the head.
fn head_tab(column: u16) -> Option<Tab> {
    let mut from = 1;
    Tab::ALL.into_iter().find(|tab| {
        let to = from + tab_width(*tab);
        let is_in = (from..to).contains(&column);
        from = to;
        is_in
    })
}

/// The pane at a column of the pane's title.
fn pane_at(column: u16) -> Option<Pane> {
    let mut from = 1;
    Pane::ALL.into_iter().find(|pane| {
        let to = from + u16::try_from(pane.title().len()).unwrap_or(0) + 2;
        let is_in = (from..to).contains(&column);
        from = to;
        is_in
    })
}
