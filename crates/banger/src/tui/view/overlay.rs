//! What lies over the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Wrap};

use super::frame::room;
use super::line_of;
use super::theme::Theme;
use crate::tui::model::Model;
use crate::tui::model::dialog::{Confirmation, Overlay, Palette};
use crate::tui::model::form::{Field, Form, Kind};
use crate::tui::model::keys::{HELP, bindings};
use crate::tui::model::notices::{NoticeRow, TIME};

/// Draws it, if there is one.
pub(super) fn draw(model: &Model, theme: Theme, frame: &mut Frame<'_>) {
    match &model.overlay {
        None => {}
        Some(Overlay::Question(question)) => confirmation(model, question, theme, frame),
        Some(Overlay::Form(form)) => draw_form(form, theme, frame),
        Some(Overlay::Palette(palette)) => draw_palette(model, palette, theme, frame),
        Some(Overlay::Help(at)) => help(model, *at, theme, frame),
        Some(Overlay::Messages(at)) => messages(model, *at, theme, frame),
    }
}

/// A room of this size in the middle of the screen, or as much of it as there is.
fn middle(frame: &mut Frame<'_>, width: u16, height: u16) -> Rect {
    let area = frame.area();
    let (width, height) = (width.min(area.width), height.min(area.height));
    let room = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, room);
    room
}

fn length(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn confirmation(model: &Model, question: &Confirmation, theme: Theme, frame: &mut Frame<'_>) {
    let mut lines: Vec<Line<'_>> = question
        .lines
        .iter()
        .map(|it| Line::raw(line_of(it)))
        .collect();
    if question.deletes_vms {
        lines.push(Line::default());
        let trash = model.daemon.as_ref().map(|it| it.trash);
        lines.push(Line::raw(fate(trash)));
    }
    lines.push(Line::default());
    lines.push(Line::from(vec![
        Span::styled("y", theme.key()),
        Span::styled(format!(" {}   ", question.yes), theme.bad()),
        Span::styled("esc", theme.key()),
        Span::raw(" leave everything as it is"),
    ]));
    let area = middle(frame, 66, length(lines.len()).saturating_add(3));
    let block = room(
        theme,
        Line::styled(format!(" {} ", question.title), theme.bad()),
        true,
    );
    frame.render_widget(
        Paragraph::new(lines)
            .wrap(Wrap { trim: false })
            .block(block),
        area,
    );
}

/// What becomes of VMs that are deleted, where it is known whether there is a trash.
fn fate(trash: Option<bool>) -> &'static str {
    match trash {
        Some(true) => "What is deleted goes to the trash, and can be restored.",
        Some(false) => "All files are deleted permanently.",
        None => "All files are deleted permanently, unless there is a trash.",
    }
}

fn draw_form(form: &Form, theme: Theme, frame: &mut Frame<'_>) {
    let width = 72;
    let height = length(form.fields.len()) + 5;
    let area = middle(frame, width, height);
    let block = room(theme, format!(" {} ", form.title), true);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let last = inside.height;
    for (at, field) in form.fields.iter().enumerate().take(usize::from(last)) {
        let row = Rect {
            y: inside.y + length(at),
            height: 1,
            ..inside
        };
        draw_field(field, at == form.at, theme, frame, row);
    }
    let used = length(form.fields.len()).min(inside.height);
    let below = Rect {
        y: inside.y + used,
        height: 3.min(inside.height - used),
        ..inside
    };
    let text = Paragraph::new(advice(form, theme)).wrap(Wrap { trim: false });
    frame.render_widget(text, below);
}

/// A field's label and what is typed in it, with the cursor where that is.
fn draw_field(field: &Field, is_here: bool, theme: Theme, frame: &mut Frame<'_>, row: Rect) {
    let label = if is_here { theme.key() } else { Style::new() };
    let value = field.input.value();
    let room_for_value = usize::from(row.width).saturating_sub(16);
    let scroll = if is_here {
        field.input.visual_scroll(room_for_value)
    } else {
        0
    };
    let shown: String = value.chars().skip(scroll).take(room_for_value).collect();
    let value_span = if value.is_empty() {
        Span::styled(line_of(&field.default), Theme::dim())
    } else if field.error.is_some() {
        Span::styled(line_of(&shown), theme.bad())
    } else {
        Span::raw(line_of(&shown))
    };
    let marker = if is_here { "> " } else { "  " };
    let label = Span::styled(format!("{marker}{:<12} ", field.label), label);
    frame.render_widget(Line::from(vec![label, value_span]), row);
    if is_here && !field.is_switch() {
        let column = 15 + field.input.visual_cursor().max(scroll) - scroll;
        let column = length(column).min(row.width.saturating_sub(1));
        frame.set_cursor_position((row.x + column, row.y));
    }
}

/// What is wrong with a form, or what its field takes, and its keys.
fn advice(form: &Form, theme: Theme) -> Vec<Line<'static>> {
    let here = form.fields.get(form.at);
    let wrong = here
        .and_then(|it| it.error.as_ref())
        .or_else(|| form.fields.iter().find_map(|it| it.error.as_ref()));
    let first = match wrong {
        Some(wrong) => Line::styled(line_of(wrong), theme.bad()),
        None => Line::styled(hint(here.map(|it| it.kind)), Theme::dim()),
    };
    let keys = Line::from(vec![
        Span::styled("enter", theme.key()),
        Span::raw(" do it  "),
        Span::styled("tab", theme.key()),
        Span::raw(" next field  "),
        Span::styled("space", theme.key()),
        Span::raw(" on or off  "),
        Span::styled("esc", theme.key()),
        Span::raw(" leave it"),
    ]);
    vec![first, keys]
}

fn hint(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Memory) => "such as 2G or 1536M",
        Some(Kind::Disk) => "the disk at /root, such as 16G; it only grows",
        Some(Kind::SystemDisk) => "the disk at /, such as 16G; it only grows",
        Some(Kind::Image) => "left and right go through the images",
        Some(Kind::Labels) => "key=value, key=value",
        Some(Kind::Vcpu) => "1 to 64",
        Some(Kind::Volumes) => "name:/path, name:/path",
        Some(Kind::Size) => "such as 16G or 1536M",
        Some(Kind::File) => "a path of this machine; ~/ is your home",
        Some(Kind::Source) => "a path of this machine, or docker://NAME",
        Some(Kind::Command) => "as in a shell, with quotes, and nothing is expanded",
        _ => "",
    }
}

fn draw_palette(model: &Model, palette: &Palette, theme: Theme, frame: &mut Frame<'_>) {
    let height = frame.area().height.saturating_sub(4).min(22);
    let area = middle(frame, 72, height);
    let block = room(theme, " actions ", true);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    if inside.is_empty() {
        return;
    }
    let prompt = Line::from(vec![
        Span::styled(":", theme.key()),
        Span::raw(line_of(palette.input.value())),
    ]);
    frame.render_widget(
        prompt,
        Rect {
            height: 1,
            ..inside
        },
    );
    let column = length(palette.input.visual_cursor() + 1).min(inside.width - 1);
    frame.set_cursor_position((inside.x + column, inside.y));
    let rows = usize::from(inside.height - 1);
    let top = (palette.at + 1).saturating_sub(rows);
    let found = palette.found();
    let lines: Vec<Line<'_>> = found
        .iter()
        .enumerate()
        .skip(top)
        .take(rows)
        .map(|(at, binding)| {
            let keys = model.keys.keys_of(binding.action);
            let key = keys.first().map(ToString::to_string).unwrap_or_default();
            let line = Line::from(vec![
                Span::styled(format!("{key:>9} "), theme.key()),
                Span::styled(format!("{:<18}", binding.name), Theme::bold()),
                Span::raw(binding.help),
            ]);
            if at == palette.at {
                line.style(Theme::cursor(true))
            } else {
                line
            }
        })
        .collect();
    let below = Rect {
        y: inside.y + 1,
        height: inside.height - 1,
        ..inside
    };
    frame.render_widget(Paragraph::new(lines), below);
}

/// The help, made from the key table.
fn help(model: &Model, at: u16, theme: Theme, frame: &mut Frame<'_>) {
    let mut lines = Vec::new();
    for (scope, title) in HELP {
        lines.push(Line::styled(title, Theme::bold()));
        for binding in bindings().filter(|it| it.scope == scope) {
            let keys = model.keys.keys_of(binding.action);
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            let keys = if keys.is_empty() {
                format!(":{}", binding.name)
            } else {
                keys.join(" ")
            };
            lines.push(Line::from(vec![
                Span::styled(format!("{keys:>18}  "), theme.key()),
                Span::raw(binding.help),
            ]));
        }
        lines.push(Line::default());
    }
    let height = frame.area().height.saturating_sub(2);
    let area = middle(frame, 76, height);
    let most = length(lines.len()).saturating_sub(height.saturating_sub(2));
    let block = room(theme, " keys ", true)
        .title_bottom(Line::from(" esc closes, j and k scroll ").right_aligned());
    frame.render_widget(
        Paragraph::new(lines).scroll((at.min(most), 0)).block(block),
        area,
    );
}

/// All messages, newest first, errors with causes and hints.
fn messages(model: &Model, at: u16, theme: Theme, frame: &mut Frame<'_>) {
    let rows = model.notices.rows(model.message_width());
    let mut lines: Vec<Line<'_>> = rows
        .iter()
        .map(|row| message_row(model, row, theme))
        .collect();
    if lines.is_empty() {
        lines.push(Line::styled("there are no messages", Theme::dim()));
    }
    let (width, height) = (
        frame.area().width.saturating_sub(4),
        frame.area().height.saturating_sub(2),
    );
    let most = length(lines.len()).saturating_sub(height.saturating_sub(2));
    let area = middle(frame, width, height);
    let block = room(theme, " messages ", true)
        .title_bottom(Line::from(" esc closes, y copies the newest ").right_aligned());
    frame.render_widget(
        Paragraph::new(lines).scroll((at.min(most), 0)).block(block),
        area,
    );
}

fn message_row(model: &Model, row: &NoticeRow<'_>, theme: Theme) -> Line<'static> {
    let time = row.notice.at.to_zoned(model.zone.clone());
    let (time, style) = if row.is_first {
        let time = time.strftime("%H:%M:%S").to_string();
        (time, theme.tone(row.notice.tone))
    } else {
        (String::new(), Style::new())
    };
    Line::from(vec![
        Span::styled(format!("{time:<TIME$}"), Theme::dim()),
        Span::styled(row.text.clone(), style),
    ])
}
