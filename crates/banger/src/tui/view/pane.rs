//! The frame of what is beside the list, and where its rows are scrolled to.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::frame::room;
use super::theme::Theme;
use crate::tui::model::{Model, Pane};

/// The titles of the panes, the one that is shown marked.
fn titles(model: &Model, theme: Theme) -> Line<'static> {
    let spans = Pane::ALL.into_iter().map(|pane| {
        let style = if pane == model.pane {
            theme.mark()
        } else {
            Theme::dim()
        };
        Span::styled(format!(" {} ", pane.title()), style)
    });
    Line::from(spans.collect::<Vec<_>>())
}

/// The room of a pane.
pub(super) fn pane_room(model: &Model, theme: Theme) -> Block<'static> {
    let name = model.vms.selected().map(|vm| format!(" {} ", vm.name));
    room(theme, titles(model, theme), model.pane_focus)
        .title_bottom(Line::from(name.unwrap_or_default()))
}

/// The rows from where the pane is scrolled to, not beyond its last full page. Returns the last row that can be the first one.
pub(super) fn scrolled(
    model: &Model,
    rows: Vec<Line<'_>>,
    frame: &mut Frame<'_>,
    area: Rect,
) -> u16 {
    let count = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    let end = count.saturating_sub(area.height);
    let at = model.pane_scroll.min(end);
    frame.render_widget(Paragraph::new(rows).scroll((at, 0)), area);
    end
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::draw;
    use super::Model;
    use crate::tui::model::message::Message;
    use crate::tui::model::tests::{now, three, types};

    /// Draws as the loop does, and returns the text and the first row of the pane.
    fn drawn(model: &mut Model, rows: u16) -> (String, u16) {
        model.update(Message::Size(60, rows), now());
        let mut terminal = Terminal::new(TestBackend::new(60, rows)).unwrap();
        let mut end = 0;
        terminal.draw(|frame| end = draw(model, frame)).unwrap();
        model.pane_end = end;
        (terminal.backend().to_string(), model.pane_scroll.min(end))
    }

    #[test]
    fn a_pane_scrolls_to_its_last_page_and_back_at_once() {
        let mut model = three();
        types(&mut model, "<tab>");
        let last = "id 00000001";
        let (text, at) = drawn(&mut model, 16);
        assert!(
            at == 0 && text.contains("phase") && !text.contains(last),
            "{text}"
        );
        types(&mut model, &"j".repeat(100));
        let (text, end) = drawn(&mut model, 16);
        assert!(
            end > 1 && text.contains(last) && !text.contains("phase"),
            "{text}"
        );
        types(&mut model, "k");
        assert_eq!(drawn(&mut model, 16).1, end - 1);
        types(&mut model, "G");
        assert_eq!(drawn(&mut model, 16).1, end);
        // A higher pane shows more of the same end, and is left at once, too.
        let (text, higher) = drawn(&mut model, 18);
        assert!(
            higher < end && text.contains(last),
            "{higher} {end}\n{text}"
        );
        types(&mut model, "k");
        assert_eq!(drawn(&mut model, 18).1, higher - 1);
    }
}
