//! Where things are on the screen, for drawing as well as for the mouse and for pages.

use ratatui::layout::{Constraint, Layout, Rect};

/// The rooms of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rooms {
    /// The tabs, and the daemon's state.
    pub(crate) head: Rect,
    /// The list, or all of a tab that has one room.
    pub(crate) list: Rect,
    /// The pane beside the list; empty where there is none.
    pub(crate) pane: Rect,
    /// The message.
    pub(crate) notice: Rect,
    /// The keys.
    pub(crate) keys: Rect,
}

/// From this width on the pane is beside the list, else below it.
const WIDE: u16 = 120;

/// The rooms on a screen of this size.
pub(crate) fn rooms(area: Rect, zoom: bool, has_pane: bool) -> Rooms {
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
    ]);
    let [head, body, notice, keys] = parts.areas(area);
    let empty = Rect {
        width: 0,
        height: 0,
        ..body
    };
    let (list, pane) = if !has_pane {
        (body, empty)
    } else if zoom {
        (empty, body)
    } else if area.width >= WIDE {
        let share = if area.width >= 180 { 60 } else { 55 };
        let sides = [Constraint::Percentage(share), Constraint::Fill(1)];
        let [list, pane] = Layout::horizontal(sides).areas(body);
        (list, pane)
    } else {
        let halves = [Constraint::Percentage(45), Constraint::Fill(1)];
        let [list, pane] = Layout::vertical(halves).areas(body);
        (list, pane)
    };
    Rooms {
        head,
        list,
        pane,
        notice,
        keys,
    }
}

impl Rooms {
    /// The rows of the list, below its title and head.
    pub(crate) fn list_rows(&self) -> Rect {
        inside(self.list, 2)
    }

    /// The lines of the pane.
    pub(crate) fn pane_rows(&self) -> Rect {
        inside(self.pane, 1)
    }
}

/// The room of the daemon's log, in the room of its tab.
pub(crate) fn daemon_log(room: Rect) -> Rect {
    let parts = [Constraint::Max(12), Constraint::Fill(1)];
    let [_, log] = Layout::vertical(parts).areas(room);
    log
}

/// What is inside a border, below so many rows.
fn inside(room: Rect, above: u16) -> Rect {
    Rect {
        x: room.x.saturating_add(1),
        y: room.y.saturating_add(above),
        width: room.width.saturating_sub(2),
        height: room.height.saturating_sub(above + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_on_the_screen_at_every_size() {
        for width in (0..260).step_by(7) {
            for height in 0..80 {
                for (zoom, has_pane) in [(false, true), (true, true), (false, false)] {
                    let area = Rect::new(0, 0, width, height);
                    let rooms = rooms(area, zoom, has_pane);
                    for room in [rooms.head, rooms.list, rooms.pane, rooms.notice, rooms.keys] {
                        assert_eq!(
                            room.intersection(area).area(),
                            room.area(),
                            "{width}x{height}"
                        );
                    }
                }
            }
        }
    }
}
