//! Text that is followed: consoles and logs.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::line_of;
use super::pane::pane_room;
use super::theme::Theme;
use crate::tui::model::Model;

/// The console.
pub(super) fn console(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    text(
        model,
        theme,
        frame,
        area,
        pane_room(model, theme),
        model.pane_focus,
    );
}

/// Text that scrolls, with what there is to know of it in its lower border.
pub(super) fn text(
    model: &Model,
    theme: Theme,
    frame: &mut Frame<'_>,
    area: Rect,
    block: Block<'_>,
    focus: bool,
) {
    let text = &model.text;
    let mut state = if text.is_following() {
        " follows the end ".to_owned()
    } else {
        " stands still; f follows ".to_owned()
    };
    if let Some(end) = &model.source_end {
        state += &format!(" ended: {} ", line_of(end));
    }
    if text.dropped() > 0 {
        state += &format!(" {} older lines dropped ", text.dropped());
    }
    if !text.searched().is_empty() {
        state += &format!(" search: {} ", line_of(text.searched()));
    }
    let block = block.title_bottom(Line::styled(state, Theme::dim()).right_aligned());
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    let wanted = text.searched().to_lowercase();
    let lines: Vec<Line<'_>> = text
        .screen(usize::from(inside.height))
        .map(|(line, under_cursor, marked)| {
            let shown: String = line.chars().skip(text.left()).collect();
            let found = !wanted.is_empty() && line.to_lowercase().contains(&wanted);
            let mut style = Style::new();
            if marked || found {
                style = theme.mark();
            }
            if under_cursor && focus && !text.is_following() {
                style = style.patch(Theme::cursor(true));
            }
            Line::styled(shown, style)
        })
        .collect();
    if text.count() == 0 {
        let hint = Line::styled("nothing has been written to it", Theme::dim());
        frame.render_widget(hint, inside);
        return;
    }
    frame.render_widget(Paragraph::new(lines), inside);
}
