//! What listens in the selected VM.

use banger_api::Phase;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};

use super::line_of;
use super::pane::pane_room;
use super::tabs::waiting;
use super::theme::Theme;
use crate::tui::model::Model;

/// The pane of ports.
pub(super) fn ports(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let block = pane_room(model, theme);
    let list = &model.ports.list;
    let runs = model
        .vms
        .selected()
        .is_some_and(|vm| vm.phase == Phase::Running);
    let line = match list.items.as_deref() {
        _ if !runs => Some(Line::styled(
            "nothing listens: it does not run",
            Theme::dim(),
        )),
        Some([]) if list.error.is_none() => {
            Some(Line::styled("nothing listens in the VM", Theme::dim()))
        }
        _ => waiting(list, theme),
    };
    if let Some(line) = line {
        frame.render_widget(Paragraph::new(line).block(block), area);
        return;
    }
    let mut ports = list.items.iter().flatten();
    let has_forwards = ports.any(|it| !it.forwarded_from.is_empty());
    let rows = list.items.iter().flatten().map(|port| {
        let process = match (&port.process, port.pid) {
            (Some(process), Some(pid)) => format!("{} ({pid})", line_of(process)),
            (Some(process), None) => line_of(process),
            (None, _) => String::new(),
        };
        let from: Vec<String> = port
            .forwarded_from
            .iter()
            .map(ToString::to_string)
            .collect();
        let cells = [
            port.port.to_string(),
            line_of(&port.protocol),
            port.address.to_string(),
            process,
            from.join(", "),
        ];
        Row::new(cells.map(Cell::new))
    });
    let widths = [
        Constraint::Length(5),
        Constraint::Length(8),
        Constraint::Length(18),
        Constraint::Fill(1),
        Constraint::Fill(if has_forwards { 1 } else { 0 }),
    ];
    let last = if has_forwards { "FORWARDED FROM" } else { "" };
    let head = Row::new(["PORT", "PROTOCOL", "ADDRESS", "PROCESS", last]).style(Theme::dim());
    let table = Table::new(rows, widths)
        .header(head)
        .row_highlight_style(Theme::cursor(model.pane_focus))
        .block(block);
    let mut state = TableState::new().with_selected(list.at);
    frame.render_stateful_widget(table, area, &mut state);
}
