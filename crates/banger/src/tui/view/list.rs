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
use crate::tui::model::words::count;
use crate::usage::History;
use crate::usage::draw::{CURVES, part};

/// What a cell is made from.
struct Subject<'m> {
    vm: &'m VmView,
    usage: Option<&'m History>,
    now: Timestamp,
    unicode: bool,
}

/// A column: its title, its width, what it is sorted by, and its cell.
struct Column {
    title: &'static str,
    width: u16,
    sort: Option<Sort>,
    cell: fn(&Subject<'_>) -> String,
}

const fn column(
    title: &'static str,
    width: u16,
    sort: Option<Sort>,
    cell: fn(&Subject<'_>) -> String,
) -> Column {
    Column {
        title,
        width,
        sort,
        cell,
    }
}

/// The columns, in order; on a narrow screen the later ones go.
const COLUMNS: [Column; 13] = [
    column("PHASE", 9, Some(Sort::Phase), |it| phase(it.vm)),
    column("ADDRESS", 15, Some(Sort::Address), |it| address(it.vm)),
    column("UP", 4, Some(Sort::Uptime), |it| {
        let up = it.vm.started.map(|then| age::since(then, it.now));
        up.unwrap_or_default()
    }),
    column("CPU", 10, Some(Sort::Cpu), |it| {
        part(it.usage, &CURVES[0], it.unicode)
    }),
    column("MEMORY", 10, None, |it| {
        part(it.usage, &CURVES[1], it.unicode)
    }),
    column("NAT", 3, None, |it| {
        if it.vm.next().nat { "on" } else { "-" }.to_owned()
    }),
    column("DISK", 5, Some(Sort::Disk), |it| {
        it.vm.spec.disk_size.to_string()
    }),
    column("IMAGE", 12, Some(Sort::Image), |it| it.vm.image.clone()),
    column("LABELS", 18, None, |it| it.vm.spec.label_texts().join(" ")),
    column("", 9, None, |it| flags(it.vm)),
    column("VCPU", 4, None, |it| {
        now_and_next(&it.vm.spec.vcpu, &it.vm.next().vcpu)
    }),
    column("RAM", 6, Some(Sort::Memory), |it| {
        now_and_next(&it.vm.spec.memory, &it.vm.next().memory)
    }),
    column("AGE", 4, None, |it| age::since(it.vm.created, it.now)),
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
    let number = if shown == all {
        format!(" {} ", count(all, "VM"))
    } else {
        format!(" {shown} of {} ", count(all, "VM"))
    };
    let mut spans = vec![Span::raw(number)];
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
    let subject = Subject {
        vm,
        usage: model.usages.of(vm.id),
        now: model.now,
        unicode: model.look.unicode,
    };
    let cells = columns.iter().map(|column| {
        let text = line_of(&(column.cell)(&subject));
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
    let is_filtered = !model.vms.filter().is_empty();
    let text = match &model.link {
        Link::Pending => String::new(),
        _ if model.vms.count() == 0 => format!(
            "there is no VM yet: {} creates one, {} helps",
            key(Action::Create),
            key(Action::Help)
        ),
        _ => {
            let why = if is_filtered {
                "no VM matches"
            } else {
                "no VM runs"
            };
            let all = is_filtered.then(|| format!("; {} clears the filter", key(Action::Back)));
            let hidden = model.vms.hide_stopped;
            let stopped =
                hidden.then(|| format!("; {} shows stopped VMs", key(Action::HideStopped)));
            format!(
                "{why}{}{}",
                all.unwrap_or_default(),
                stopped.unwrap_or_default()
            )
        }
    };
    frame.render_widget(Line::styled(text, theme.warning()).centered(), area);
}
