//! Meters and graphs of what VMs use.

use banger_api::StatsView;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::pane::pane_room;
use super::theme::Theme;
use crate::tui::model::Model;
use crate::usage::History;
use crate::usage::draw::{CURVES, Curve, bytes, graph, sparkline, stretch};
use crate::usage::sampler::FAST;

/// The height of all graphs with a title and two lines each.
const GRAPHS: u16 = 15;
/// The least height of all graphs: a line each.
const LINES: u16 = 5;
/// The width of short graphs beside text.
const BESIDE: u16 = 34;

/// The pane of graphs.
pub(super) fn usage(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let block = pane_room(model, theme);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    graphs(model, theme, frame, inside);
}

/// Where text of so many lines and the graphs have room, both; else the text alone.
pub(super) fn beside(inside: Rect, lines: u16) -> (Rect, Rect) {
    let below = inside.height.saturating_sub(lines);
    let is_wide = inside.width >= 2 * BESIDE + 4;
    if below >= GRAPHS || (below >= LINES && !is_wide) {
        let text = Rect {
            height: lines,
            ..inside
        };
        let graphs = Rect {
            y: inside.y + lines,
            height: below,
            ..inside
        };
        return (text, graphs);
    }
    if is_wide {
        let width = inside.width - BESIDE - 1;
        let text = Rect { width, ..inside };
        let graphs = Rect {
            x: inside.x + width + 1,
            width: BESIDE,
            ..inside
        };
        return (text, graphs);
    }
    let none = Rect {
        width: 0,
        height: 0,
        ..inside
    };
    (inside, none)
}

/// Every curve of the selected VM, one below the other, as high as there is room.
pub(super) fn graphs(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let Some(vm) = model.vms.selected().filter(|_| !area.is_empty()) else {
        return;
    };
    let history = model.usages.of(vm.id);
    let lines = match history {
        Some(history) => all(history, theme, model.look.unicode, area),
        None if vm.phase == banger_api::Phase::Running => {
            vec![Line::styled("being measured …", theme.warning())]
        }
        None => vec![Line::styled(
            "it uses nothing: it does not run",
            Theme::dim(),
        )],
    };
    frame.render_widget(Paragraph::new(lines), area);
}

fn all(history: &History, theme: Theme, unicode: bool, area: Rect) -> Vec<Line<'static>> {
    let height = usize::from(area.height) / CURVES.len();
    let mut lines = Vec::new();
    for curve in &CURVES {
        if height < 2 {
            lines.push(in_a_line(history, curve, theme, unicode, area.width));
            continue;
        }
        let values = history.series(usize::from(area.width), stretch(FAST), curve.value);
        let most = curve.unit.most(&values);
        lines.push(title(history, curve, most));
        let rows = graph(&values, most, (height - 1).min(6), unicode);
        lines.extend(rows.into_iter().map(|it| Line::styled(it, theme.good())));
    }
    if let Some(error) = history.last().and_then(|it| it.guest_error.as_ref()) {
        lines.push(Line::styled(super::line_of(error), theme.warning()));
    }
    lines
}

fn newest(history: &History, curve: &Curve) -> String {
    let value = history.newest().and_then(curve.value);
    value.map_or_else(|| "unknown".to_owned(), |it| curve.unit.words(it))
}

fn title(history: &History, curve: &Curve, most: f64) -> Line<'static> {
    let of = match (curve.title, history.last()) {
        ("CPU", Some(stats)) => format!(" of {} vCPUs", stats.vcpu),
        (
            "memory",
            Some(StatsView {
                guest: Some(guest), ..
            }),
        ) => {
            let used = guest.memory_bytes.saturating_sub(guest.available_bytes);
            format!(", {} of {}", bytes(used), bytes(guest.memory_bytes))
        }
        ("disk", _) => " on the host".to_owned(),
        _ if most > 0.0 => format!("  (most {})", curve.unit.words(most)),
        _ => String::new(),
    };
    Line::from(vec![
        Span::styled(format!("{} ", curve.title), Theme::dim()),
        Span::raw(newest(history, curve)),
        Span::styled(of, Theme::dim()),
    ])
}

fn in_a_line(
    history: &History,
    curve: &Curve,
    theme: Theme,
    unicode: bool,
    width: u16,
) -> Line<'static> {
    let count = usize::from(width).saturating_sub(18);
    let values = history.series(count, stretch(FAST), curve.value);
    let most = curve.unit.most(&values);
    Line::from(vec![
        Span::styled(format!("{:>8} ", curve.title), Theme::dim()),
        Span::styled(sparkline(&values, most, unicode), theme.good()),
        Span::styled(format!(" {:>7}", newest(history, curve)), Style::new()),
    ])
}
