//! The tabs of what is kept: images with their builds, volumes, the trash.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};

use super::details::step_line;
use super::frame::room;
use super::line_of;
use super::tabs::waiting;
use super::theme::Theme;
use crate::age;
use crate::tui::model::Model;
use crate::tui::model::words::count;
use crate::usage::draw::bytes;

/// How many steps of a build are shown.
const STEPS: usize = 6;

/// Who uses something.
fn users(users: &[banger_api::VmName]) -> String {
    match users {
        [] => "-".to_owned(),
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    }
}

/// The images.
pub(super) fn images(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let builds = build_lines(model, theme);
    let height = u16::try_from(builds.len()).unwrap_or(u16::MAX);
    let height = if builds.is_empty() {
        0
    } else {
        height.saturating_add(2)
    };
    let parts = [Constraint::Min(6), Constraint::Length(height)];
    let [area, below] = Layout::vertical(parts).areas(area);
    if !builds.is_empty() {
        let number = model.builds().count();
        let block = room(theme, format!(" {number} under construction "), false);
        frame.render_widget(Paragraph::new(builds).block(block), below);
    }
    let number = model.images.items.as_ref().map_or(0, Vec::len);
    let block = room(theme, format!(" {} ", count(number, "image")), true);
    if let Some(line) = waiting(&model.images, theme) {
        frame.render_widget(Paragraph::new(line).block(block), area);
        return;
    }
    let rows = model.images.items.iter().flatten().map(|image| {
        let created = image
            .created
            .map_or("-".to_owned(), |it| age::since(it, model.now));
        let name = if image.is_default {
            format!("{} (default)", image.name)
        } else {
            image.name.to_string()
        };
        Row::new(
            [
                name,
                bytes(image.size_bytes),
                bytes(image.allocated_bytes),
                created,
                users(&image.users),
                line_of(&image.origin),
            ]
            .map(Cell::new),
        )
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Fill(1),
        Constraint::Fill(2),
    ];
    let head = Row::new(["NAME", "SIZE", "TAKES", "AGE", "USED BY", "FROM"]).style(Theme::dim());
    let table = Table::new(rows, widths)
        .header(head)
        .row_highlight_style(Theme::cursor(true))
        .block(block);
    let mut state = TableState::new().with_selected(model.images.at);
    frame.render_stateful_widget(table, area, &mut state);
}

/// Each build, and its last steps.
fn build_lines(model: &Model, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for build in model.builds() {
        let name = build.operation.name.as_ref();
        let name = name.map_or("an image".to_owned(), |it| format!("in {it}"));
        let took = age::since(build.operation.began, model.now);
        lines.push(Line::from(vec![
            Span::styled(format!("build {name}"), Theme::bold()),
            Span::raw(format!(", {took} so far")),
        ]));
        let first = build.steps.len().saturating_sub(STEPS);
        let steps = build.steps[first..].iter();
        lines.extend(steps.map(|step| step_line(step, 12, Style::new(), theme)));
    }
    lines
}

/// The volumes.
pub(super) fn volumes(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let items = model.volumes.items.as_deref().unwrap_or_default();
    let block = room(theme, format!(" {} ", count(items.len(), "volume")), true);
    let none = "there is no volume: a disk that outlives the VMs that use it";
    if let Some(line) = waiting(&model.volumes, theme).or_else(|| empty(items, none)) {
        frame.render_widget(Paragraph::new(line).block(block), area);
        return;
    }
    let rows = items.iter().map(|volume| {
        let cells = [
            volume.name.to_string(),
            bytes(volume.size_bytes),
            bytes(volume.allocated_bytes),
            users(&volume.users),
        ];
        Row::new(cells.map(Cell::new))
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Fill(1),
    ];
    let head = Row::new(["NAME", "SIZE", "TAKES", "USED BY"]).style(Theme::dim());
    let table = Table::new(rows, widths)
        .header(head)
        .row_highlight_style(Theme::cursor(true))
        .block(block);
    let mut state = TableState::new().with_selected(model.volumes.at);
    frame.render_stateful_widget(table, area, &mut state);
}

/// The VMs in the trash.
pub(super) fn trash(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let items = model.trash.items.as_deref().unwrap_or_default();
    let block = room(
        theme,
        format!(" {} in the trash ", count(items.len(), "VM")),
        true,
    );
    let has_trash = model.daemon.as_ref().is_none_or(|it| it.trash);
    let none = if has_trash {
        "the trash is empty"
    } else {
        "there is no trash: banger config set trash true"
    };
    if let Some(line) = waiting(&model.trash, theme).or_else(|| empty(items, none)) {
        frame.render_widget(Paragraph::new(line).block(block), area);
        return;
    }
    let rows = items.iter().map(|vm| {
        let taken: u64 = vm.disks.iter().map(|it| it.allocated_bytes).sum();
        let deleted = vm.deleted.map(|it| age::since(it, model.now));
        let cells = [
            vm.name.to_string(),
            vm.id.to_string(),
            deleted.unwrap_or_default(),
            bytes(taken),
            line_of(&vm.image),
        ];
        Row::new(cells.map(Cell::new))
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(16),
    ];
    let head = Row::new(["NAME", "ID", "DELETED", "TAKES", "IMAGE"]).style(Theme::dim());
    let table = Table::new(rows, widths)
        .header(head)
        .row_highlight_style(Theme::cursor(true))
        .block(block);
    let mut state = TableState::new().with_selected(model.trash.at);
    frame.render_stateful_widget(table, area, &mut state);
}

/// The line in place of a list with nothing in it.
fn empty<T>(items: &[T], words: &'static str) -> Option<Line<'static>> {
    items.is_empty().then(|| Line::styled(words, Theme::dim()))
}
