//! The other tabs: images, daemon, doctor.

use banger_api::{CheckReport, Error, Verdict};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState, Wrap};

use super::frame::{operation, room};
use super::line_of;
use super::text::text;
use super::theme::Theme;
use crate::age;
use crate::tui::model::dialog::command_of;
use crate::tui::model::words::count;
use crate::tui::model::{List, Model, layout};

/// The line in place of a list that has not come.
pub(super) fn waiting<T>(list: &List<T>, theme: Theme) -> Option<Line<'static>> {
    let failed = |error: &Error| Line::styled(line_of(&error.to_string()), theme.bad());
    match (&list.items, &list.error) {
        (_, Some(error)) => Some(failed(error)),
        (None, None) => Some(Line::styled(
            "asked, and not answered yet …",
            theme.warning(),
        )),
        (Some(_), None) => None,
    }
}

/// The daemon: its state, the operations that are under way, and its log.
pub(super) fn daemon(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let parts = [Constraint::Max(12), Constraint::Fill(1)];
    let [above, _] = Layout::vertical(parts).areas(area);
    let log = layout::daemon_log(area);
    let sides = [Constraint::Fill(1), Constraint::Fill(1)];
    let [state, operations] = Layout::horizontal(sides).areas(above);
    let lines = match &model.daemon {
        Some(daemon) => daemon_lines(model, theme, daemon),
        None => Vec::new(),
    };
    let state_text = Paragraph::new(lines).block(room(theme, " bangerd ", false));
    frame.render_widget(state_text, state);
    let lines: Vec<Line<'_>> = model
        .operations
        .running()
        .map(|course| {
            let took = age::since(course.operation.began, model.now);
            Line::from(format!("{took:>4} {}", operation(course)))
        })
        .collect();
    let title = format!(" {} under way ", count(lines.len(), "operation"));
    frame.render_widget(
        Paragraph::new(lines).block(room(theme, title, false)),
        operations,
    );
    text(model, theme, frame, log, room(theme, " log ", true), true);
}

fn daemon_lines(
    model: &Model,
    theme: Theme,
    daemon: &banger_api::DaemonView,
) -> Vec<Line<'static>> {
    let field = |name: &str, value: String| {
        Line::from(vec![
            Span::styled(format!("{name:>9} "), Theme::dim()),
            Span::raw(line_of(&value)),
        ])
    };
    let mut lines = vec![
        field(
            "version",
            format!("{}, process {}", daemon.version, daemon.pid),
        ),
        field("mode", daemon.mode.clone()),
        field(
            "started",
            age::moment(daemon.started, model.now, &model.zone),
        ),
        field("state", daemon.state.clone()),
        field("socket", daemon.socket.clone()),
        field("config", daemon.config.clone()),
        field("bundle", daemon.bundle.clone()),
        field(
            "DNS",
            daemon.dns.clone().unwrap_or_else(|| "off".to_owned()),
        ),
        field("log level", daemon.log_level.to_string()),
    ];
    for unexplained in &daemon.unexplained {
        lines.push(Line::styled(line_of(unexplained), theme.warning()));
    }
    lines
}

/// The checks, and what to do about the selected one.
pub(super) fn doctor(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let parts = [Constraint::Fill(1), Constraint::Length(8)];
    let [list, below] = Layout::vertical(parts).areas(area);
    let checks = model.checks.items.as_deref().unwrap_or_default();
    let block = room(theme, checks_title(model, checks), true);
    if let Some(line) = waiting(&model.checks, theme) {
        frame.render_widget(Paragraph::new(line).block(block), list);
        return;
    }
    let rows = checks.iter().map(|check| {
        let verdict = match check.verdict {
            Verdict::Pass => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        Row::new([
            Cell::new(verdict).style(theme.verdict(check.verdict)),
            Cell::new(line_of(&check.name)),
            Cell::new(line_of(&check.found)),
        ])
    });
    let widths = [
        Constraint::Length(4),
        Constraint::Fill(1),
        Constraint::Fill(2),
    ];
    let table = Table::new(rows, widths)
        .row_highlight_style(Theme::cursor(true))
        .block(block);
    let mut state = TableState::new().with_selected(model.checks.at);
    frame.render_stateful_widget(table, list, &mut state);
    if let Some(check) = model.checks.selected() {
        frame.render_widget(advice(check, theme), below);
    }
}

fn checks_title(model: &Model, checks: &[CheckReport]) -> String {
    let with = |verdict| checks.iter().filter(|it| it.verdict == verdict).count();
    let (failed, warned) = (with(Verdict::Fail), with(Verdict::Warn));
    let again = if model.checks.asked {
        ", checking …"
    } else {
        ""
    };
    let all = count(checks.len(), "check");
    format!(" {all}: {failed} failed, {warned} with a drawback{again} ")
}

/// What a check found, and what to do about it.
fn advice(check: &CheckReport, theme: Theme) -> Paragraph<'static> {
    let mut lines = vec![Line::raw(line_of(&check.found))];
    for hint in &check.hints {
        lines.push(Line::from(vec![
            Span::styled("hint: ", Theme::dim()),
            Span::raw(line_of(hint)),
        ]));
    }
    if let Some(fix) = &check.fix {
        lines.push(Line::from(vec![
            Span::styled("fix: ", theme.key()),
            Span::raw(line_of(&command_of(fix))),
        ]));
    }
    let block = room(theme, format!(" {} ", line_of(&check.name)), false);
    Paragraph::new(lines)
        .wrap(Wrap { trim: false })
        .block(block)
}
