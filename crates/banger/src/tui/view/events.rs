//! What happened to the selected VM, newest first.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::line_of;
use super::pane::{pane_room, scrolled};
use super::theme::Theme;
use crate::tui::model::Model;
use crate::tui::model::notices::wrapped;
use crate::tui::model::operations::Happening;

/// What happened to the VM. Returns the last row that can be the first one.
pub(super) fn events(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) -> u16 {
    let Some(vm) = model.vms.selected() else {
        frame.render_widget(pane_room(model, theme), area);
        return 0;
    };
    let block = pane_room(model, theme);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let happenings = model.operations.happenings(vm.id);
    let mut lines: Vec<_> = happenings
        .flat_map(|it| happening(model, theme, it, inside.width))
        .collect();
    if lines.is_empty() {
        lines.push(Line::styled(
            "nothing has happened since this program began",
            Theme::dim(),
        ));
    }
    scrolled(model, lines, frame, inside)
}

/// The time and the words of it, in rows of this width.
fn happening(model: &Model, theme: Theme, it: &Happening, width: u16) -> Vec<Line<'static>> {
    let at = it.at.to_zoned(model.zone.clone());
    let at = at.strftime("%H:%M:%S ").to_string();
    let room = usize::from(width).saturating_sub(at.len()).max(1);
    let style = if it.bad { theme.bad() } else { Style::new() };
    let texts = wrapped(&line_of(&it.text), room).into_iter();
    let rows = texts.enumerate().map(|(number, text)| {
        let label = match number {
            0 => Span::styled(at.clone(), Theme::dim()),
            _ => Span::raw(" ".repeat(at.len())),
        };
        Line::from(vec![label, Span::styled(text, style)])
    });
    rows.collect()
}
