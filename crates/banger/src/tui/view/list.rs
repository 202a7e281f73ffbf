//! The list of VMs.

use banger_api::VmView;
use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};

use super::frame::room;
use super::line_of;
use super::theme::Theme;
use crate::age;
use crate::tui::model::Model;
use crate::tui::model::vms::Sort;

/// A column: its title, its width, what it is sorted by, and its cell.
struct Column {
    title: &'static str,
    width: u16,
    sort: Option<Sort>,
    cell: fn(&VmView, Timestamp) -> String,
}

/// The columns, in order; on a narrow screen the later ones go.
const COLUMNS: [Column; 11] = [
    Column {
        title: "PHASE",
        width: 9,
        sort: Some(Sort::Phase),
        cell: |vm, _| phase(vm),
    },
    Column {
        title: "ADDRESS",
        width: 15,
        sort: Some(Sort::Address),
        cell: |vm, _| address(vm),
    },
    Column {
        title: "UP",
        width: 4,
        sort: Some(Sort::Uptime),
        cell: |vm, now| vm.started.map(|it| age::since(it, now)).unwrap_or_default(),
    },
    Column {
        title: "CPU",
        width: 3,
        sort: None,
        cell: |vm, _| now_and_next(&vm.spec.vcpu, &vm.next().vcpu),
    },
    Column {
        title: "MEMORY",
        width: 6,
        sort: Some(Sort::Memory),
        cell: |vm, _| now_and_next(&vm.spec.memory, &vm.next().memory),
    },
    Column {
        title: "NAT",
        width: 3,
        sort: None,
        cell: |vm, _| if vm.next().nat { "on" } else { "-" }.to_owned(),
    },
    Column {
        title: "DISK",
        width: 5,
        sort: Some(Sort::Disk),
        cell: |vm, _| vm.spec.disk_size.to_string(),
    },
    Column {
        title: "IMAGE",
        width: 12,
        sort: Some(Sort::Image),
        cell: |vm, _| vm.image.clone(),
    },
    Column {
        title: "AGE",
        width: 4,
        sort: None,
        cell: |vm, now| age::since(vm.created, now),
    },
    Column {
        title: "",
        width: 10,
        sort: None,
        cell: |vm, _| flags(vm),
    },
    Column {
        title: "LABELS",
        width: 24,
        sort: None,
        cell: |vm, _| vm.spec.label_texts().join(" "),
    },
];

/// The least width of names.
const NAME: u16 = 16;

fn now_and_next<T: PartialEq + std::fmt::Display>(now: &T, next: &T) -> String {
    if now == next {
        now.to_string()
    } else {
        format!("{now}>{next}")
    }
}

/// The phase, or that the VM is paused in it.
fn phase(vm: &VmView) -> String {
    if vm.paused {
        return "paused".to_owned();
    }
    if vm.rescue {
        return "rescue".to_owned();
    }
    vm.phase.to_string()
}

fn address(vm: &VmView) -> String {
    match (vm.address, &vm.ssh) {
        (Some(address), _) => address.to_string(),
        (None, Some(ssh)) => format!("port {}", ssh.port),
        (None, None) => String::new(),
    }
}

fn flags(vm: &VmView) -> String {
    let spec = vm.next();
    let mut flags = Vec::new();
    flags.extend(spec.protected.then_some("prot"));
    flags.extend(spec.autostart.then_some("auto"));
    flags.join(" ")
}

/// The columns that there is room for.
fn columns(width: u16) -> &'static [Column] {
    let mut used = NAME + 2;
    let fitting = COLUMNS.iter().take_while(|column| {
        used += column.width + 1;
        used <= width
    });
    &COLUMNS[..fitting.count()]
}

/// The list with its title and head.
pub(super) fn vms(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let focus = !model.pane_focus;
    let block = room(theme, title(model, theme), focus);
    let rows = model.rooms().list_rows();
    let columns = columns(rows.width);
    let shown = model.vms.shown();
    let selected = model.vms.selected().map(|vm| vm.id);
    // Only the rows on the screen are made, however many VMs there are.
    let on_screen = shown
        .iter()
        .skip(model.list_top)
        .take(usize::from(rows.height));
    let table_rows = on_screen.filter_map(|id| {
        let vm = model.vms.get(*id)?;
        let row = row(model, theme, vm, columns);
        Some(if selected == Some(*id) {
            row.style(Theme::cursor(focus))
        } else {
            row
        })
    });
    let widths = [Constraint::Fill(1)]
        .into_iter()
        .chain(columns.iter().map(|it| Constraint::Length(it.width)));
    let head = Row::new(
        [head_cell(model, "NAME", Some(Sort::Name))]
            .into_iter()
            .chain(columns.iter().map(|it| head_cell(model, it.title, it.sort))),
    );
    let table = Table::new(table_rows, widths)
        .header(head.style(Theme::dim()))
        .column_spacing(1)
        .block(block);
    frame.render_widget(table, area);
    if shown.is_empty() {
        empty(model, theme, frame, rows);
    }
}

fn head_cell(model: &Model, title: &'static str, sort: Option<Sort>) -> Cell<'static> {
    let is_sorted = sort == Some(model.vms.sort);
    let mark = if model.vms.reverse { "-" } else { "+" };
    let text = if is_sorted {
        format!("{title}{mark}")
    } else {
        title.to_owned()
    };
    let style = if is_sorted {
        Theme::bold()
    } else {
        Style::new()
    };
    Cell::new(text).style(style)
}

fn title(model: &Model, theme: Theme) -> Line<'static> {
    let (shown, all) = (model.vms.shown().len(), model.vms.count());
    let count = if shown == all {
        format!(" {all} VMs ")
    } else {
        format!(" {shown} of {all} VMs ")
    };
    let mut spans = vec![Span::raw(count)];
    if !model.vms.filter().is_empty() {
        let text = format!(" filter: {} ", line_of(model.vms.filter()));
        spans.push(Span::styled(text, theme.mark()));
    }
    if model.vms.hide_stopped {
        spans.push(Span::styled(" stopped hidden ", theme.mark()));
    }
    if model.vms.mark_count() > 0 {
        let text = format!(" {} marked ", model.vms.mark_count());
        spans.push(Span::styled(text, theme.mark()));
    }
    Line::from(spans)
}

fn row(model: &Model, theme: Theme, vm: &VmView, columns: &[Column]) -> Row<'static> {
    let marked = model.vms.is_marked(vm.id);
    let mark = if marked { "* " } else { "  " };
    let bad = if vm.notes.is_empty() { "" } else { " !" };
    let name = Line::from(vec![
        Span::styled(mark, theme.mark()),
        Span::styled(
            vm.name.to_string(),
            if marked { theme.mark() } else { Style::new() },
        ),
        Span::styled(bad, theme.warning()),
    ]);
    let cells = columns.iter().map(|column| {
        let text = line_of(&(column.cell)(vm, model.now));
        let style = if column.title == "PHASE" {
            theme.phase(vm)
        } else {
            Style::new()
        };
        Cell::new(text).style(style)
    });
    Row::new([Cell::new(name)].into_iter().chain(cells))
}

fn empty(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    use crate::tui::model::Link;
    use crate::tui::model::keys::Action;
    let key = |action| {
        model
            .keys
            .key_of(action)
            .map_or("?".to_owned(), |it| it.to_string())
    };
    let text = match &model.link {
        Link::Pending => String::new(),
        _ if model.vms.count() > 0 => "no VM is like this: esc shows all".to_owned(),
        _ => format!(
            "there is no VM yet: {} creates one, {} helps",
            key(Action::Create),
            key(Action::Help)
        ),
    };
    frame.render_widget(Line::styled(text, theme.warning()).centered(), area);
}
