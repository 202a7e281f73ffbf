//! What is beside the list: details, events and console of the selected VM.

use banger_api::{NetworkKind, Progress, VmView};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::frame::room;
use super::line_of;
use super::theme::Theme;
use super::usage;
use crate::age;
use crate::commands::vm::arrow;
use crate::tui::model::notices::wrapped;
use crate::tui::model::operations::Happening;
use crate::tui::model::{Model, Pane};
use crate::usage::History;
use crate::usage::draw::{bytes, meter};

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

/// Settings and state, and where there is room the graphs.
pub(super) fn details(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let lines = match model.vms.selected() {
        Some(vm) => lines(model, theme, vm),
        None => Vec::new(),
    };
    let block = pane_room(model, theme);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let in_rows = |width: u16| -> Vec<Line<'static>> {
        lines.iter().flat_map(|it| rows(it, width)).collect()
    };
    let count = u16::try_from(in_rows(inside.width).len()).unwrap_or(u16::MAX);
    let (text, graphs) = usage::beside(inside, count.saturating_add(1));
    scrolled(model, in_rows(text.width), frame, text);
    usage::graphs(model, theme, frame, graphs);
}

/// The rows from where the pane is scrolled to, not beyond its last full page.
fn scrolled(model: &Model, rows: Vec<Line<'_>>, frame: &mut Frame<'_>, area: Rect) {
    let count = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    model.pane_end.set(count.saturating_sub(area.height));
    let at = model.pane_scroll.min(model.pane_end.get());
    frame.render_widget(Paragraph::new(rows).scroll((at, 0)), area);
}

/// The columns of a label and the space after it.
const LABEL: usize = 13;

/// A line in rows of this width: a long value continues below its beginning.
fn rows(line: &Line<'static>, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let [label, value] = line.spans.as_slice() else {
        return vec![line.clone()];
    };
    if line.width() <= width {
        return vec![line.clone()];
    }
    let room = width.saturating_sub(LABEL).max(1);
    let values = wrapped(&value.content, room).into_iter();
    let rows = values.enumerate().map(|(number, text)| {
        let label = match number {
            0 => label.clone(),
            _ => Span::raw(" ".repeat(LABEL)),
        };
        Line::from(vec![label, Span::styled(text, value.style)])
    });
    rows.collect()
}

fn field(name: &str, value: impl Into<String>) -> Line<'static> {
    Line::from(vec![
        Span::styled(format!("{name:>12} "), Theme::dim()),
        Span::raw(line_of(&value.into())),
    ])
}

fn lines(model: &Model, theme: Theme, vm: &VmView) -> Vec<Line<'static>> {
    let mut lines = state(model, theme, vm);
    lines.extend(course(model, theme, vm));
    lines.push(field("address", addresses(vm)));
    lines.extend(vm.forwards.iter().map(|it| field("forward", arrow(vm, it))));
    lines.extend(settings(model, vm));
    lines.extend(origin(model, vm));
    lines
}

/// The phase, and what is to be known of it.
fn state(model: &Model, theme: Theme, vm: &VmView) -> Vec<Line<'static>> {
    let phase = match vm.pause_reason {
        Some(reason) => format!("paused: {reason}"),
        None if vm.paused => "paused".to_owned(),
        None => vm.phase.to_string(),
    };
    let up = vm
        .started
        .map(|it| format!(", up {}", age::since(it, model.now)));
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("{:>12} ", "phase"), Theme::dim()),
        Span::styled(phase, theme.phase(vm)),
        Span::raw(up.unwrap_or_default()),
    ])];
    for note in &vm.notes {
        lines.push(Line::from(vec![
            Span::styled(format!("{:>12} ", "note"), theme.warning()),
            Span::styled(line_of(&model.for_host(note)), theme.warning()),
        ]));
    }
    lines
}

/// The settings, with those of the next start where they are others.
fn settings(model: &Model, vm: &VmView) -> Vec<Line<'static>> {
    let (spec, next) = (&vm.spec, vm.next());
    let both = |now: String, next: String| {
        if now == next {
            now
        } else {
            format!("{now}, {next} from its next start")
        }
    };
    let memory = both(spec.memory.to_string(), next.memory.to_string());
    let mut lines = vec![
        field("vCPUs", both(spec.vcpu.to_string(), next.vcpu.to_string())),
        field("memory", memory),
    ];
    lines.extend(disks(model, vm));
    let on = |is: bool| if is { "on" } else { "off" }.to_owned();
    lines.push(field("NAT", both(on(spec.nat), on(next.nat))));
    let mut flags = Vec::new();
    flags.extend(next.protected.then_some("protected from kill and delete"));
    flags.extend(next.autostart.then_some("starts with the host"));
    if !flags.is_empty() {
        lines.push(field("", flags.join(", ")));
    }
    if !spec.labels.is_empty() {
        lines.push(field("labels", spec.label_texts().join(", ")));
    }
    lines
}

/// What it is made of, and what it has been through.
fn origin(model: &Model, vm: &VmView) -> Vec<Line<'static>> {
    let hypervisor = vm.hypervisor.clone();
    let hypervisor = hypervisor.unwrap_or_else(|| "none yet".to_owned());
    let pid = vm.pid.map(|pid| format!(", process {pid}"));
    let created = age::moment(vm.created, model.now, &model.zone);
    let mut lines = vec![
        field("image", vm.image.clone()),
        field("hypervisor", hypervisor + &pid.unwrap_or_default()),
        field("created", created),
    ];
    if let Some(end) = &vm.last_end {
        let text = format!("{} {} ago", end.detail, age::since(end.at, model.now));
        lines.push(field("last end", text));
    }
    lines.push(field("id", vm.id.to_string()));
    lines
}

fn addresses(vm: &VmView) -> String {
    let network = match vm.network {
        NetworkKind::Tap => "",
        NetworkKind::User => "user networking, ",
    };
    match (vm.address, &vm.ssh) {
        (Some(address), _) => format!("{address}, {}", vm.dns_name),
        (None, Some(ssh)) => format!("{network}SSH at {}:{}", ssh.host, ssh.port),
        (None, None) => format!("{network}{}", vm.dns_name),
    }
}

/// The disks, with a meter of what they take on the host where that is known.
fn disks(model: &Model, vm: &VmView) -> Vec<Line<'static>> {
    // What is measured again and again is newer than the answer of when the VM was selected.
    let measured = model.usages.of(vm.id).and_then(History::last);
    let answered = model.disks.as_ref().filter(|it| it.0 == vm.id);
    let known = measured.map(|it| it.disks.as_slice());
    let known = known.filter(|it| !it.is_empty());
    match known.or(answered.map(|it| it.1.as_slice())) {
        Some(disks) if !disks.is_empty() => {
            let line = |disk: &banger_api::DiskView| {
                let (taken, size) = (disk.allocated_bytes, disk.size_bytes);
                let text = format!("{} {} of {}", meter(taken, size), bytes(taken), bytes(size));
                field(&format!("{} disk", disk.name), text)
            };
            disks.iter().map(line).collect()
        }
        _ => vec![
            field("root disk", vm.next().system_disk_size.to_string()),
            field("work disk", vm.next().disk_size.to_string()),
        ],
    }
}

/// The operation that is under way or has failed, with its steps, or how long the last one took.
fn course(model: &Model, theme: Theme, vm: &VmView) -> Vec<Line<'static>> {
    let Some(course) = model.operations.of(vm.id) else {
        return Vec::new();
    };
    let verb = course.operation.verb.to_string();
    let took = course
        .ended
        .unwrap_or(model.now)
        .duration_since(course.operation.began);
    let took = age::took(took.as_secs_f64());
    let (text, style) = match (&course.operation.state, course.ended) {
        (banger_api::OperationState::Failed { error }, _) => (
            format!("failed: {}", line_of(&error.to_string())),
            theme.bad(),
        ),
        (_, Some(_)) => (format!("took {took}"), Style::new()),
        (_, None) => (format!("{took} so far"), theme.warning()),
    };
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("{verb:>12} "), Theme::dim()),
        Span::styled(text, style),
    ])];
    let is_well = course.operation.state == banger_api::OperationState::Done;
    let steps = if is_well {
        &[]
    } else {
        course.steps.as_slice()
    };
    lines.extend(
        steps
            .iter()
            .map(|step| step_line(step, 22, Theme::dim(), theme)),
    );
    lines
}

/// A step of an operation with the time that it took, which ends in this column.
pub(super) fn step_line(
    step: &Progress,
    column: usize,
    done: Style,
    theme: Theme,
) -> Line<'static> {
    let (time, style) = match step.seconds {
        Some(seconds) => (age::took(seconds), done),
        None => ("…".to_owned(), theme.warning()),
    };
    Line::styled(format!("{time:>column$}  {}", line_of(&step.step)), style)
}

/// What happened to the VM.
pub(super) fn events(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let Some(vm) = model.vms.selected() else {
        frame.render_widget(pane_room(model, theme), area);
        return;
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
    scrolled(model, lines, frame, inside);
}

/// When and what happened, in rows of this width.
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

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::draw;
    use super::Model;
    use crate::tui::model::message::Message;
    use crate::tui::model::tests::{now, three, types};

    #[test]
    fn a_pane_scrolls_to_its_last_page_and_back_at_once() {
        let mut model = three();
        model.update(Message::Size(60, 16), now());
        let mut terminal = Terminal::new(TestBackend::new(60, 16)).unwrap();
        types(&mut model, "<tab>");
        let mut first_row = |model: &Model| {
            terminal.draw(|frame| draw(model, frame)).unwrap();
            model.pane_scroll
        };
        first_row(&model);
        types(&mut model, &"j".repeat(100));
        let end = first_row(&model);
        assert!(0 < end && end < 50, "{end}");
        types(&mut model, "k");
        assert_eq!(first_row(&model), end - 1);
        types(&mut model, "G");
        assert_eq!(first_row(&model), end);
        // What has become shorter is read from its new end.
        model.update(Message::Size(60, 24), now());
        let end = {
            first_row(&model);
            model.pane_end.get()
        };
        types(&mut model, "k");
        assert_eq!(first_row(&model), end.saturating_sub(1));
    }
}
