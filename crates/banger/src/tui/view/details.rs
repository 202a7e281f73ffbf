//! The details of the selected VM: its state and its settings.

use banger_api::{NetworkKind, Progress, VmView};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::line_of;
use super::pane::{pane_room, scrolled};
use super::theme::Theme;
use super::usage;
use crate::age;
use crate::commands::vm::arrow;
use crate::tui::model::Model;
use crate::tui::model::notices::wrapped;
use crate::usage::History;
use crate::usage::draw::{bytes, meter};

/// Settings and state, and where there is room the graphs. Returns the last row that can be the first one.
pub(super) fn details(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) -> u16 {
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
    usage::graphs(model, theme, frame, graphs);
    scrolled(model, in_rows(text.width), frame, text)
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

/// How far a step is that has not ended.
fn so_far(step: &Progress) -> String {
    match step.bytes.map(|it| it.done * 100 / it.whole.max(1)) {
        Some(percent) => format!("{percent} %"),
        None => "…".to_owned(),
    }
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
        None => (so_far(step), theme.warning()),
    };
    Line::styled(format!("{time:>column$}  {}", line_of(&step.step)), style)
}
