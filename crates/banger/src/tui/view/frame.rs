//! The lines around: the tabs, the message, the keys.

use banger_api::{Phase, VmView};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Block;

use super::line_of;
use super::theme::Theme;
use crate::age;
use crate::tui::model::keys::Action;
use crate::tui::model::operations::Course;
use crate::tui::model::{Link, Model, Tab, Typing};

/// A room with a border and a title.
pub(super) fn room<'t>(theme: Theme, title: impl Into<Line<'t>>, focus: bool) -> Block<'t> {
    Block::bordered()
        .border_set(theme.border_set())
        .border_style(theme.border(focus))
        .title(title)
}

/// The tabs, and how the daemon is.
pub(super) fn head(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let mut spans = vec![Span::raw(" ")];
    for (number, tab) in Tab::ALL.into_iter().enumerate() {
        let style = if tab == model.tab {
            Theme::cursor(true)
        } else {
            Style::new()
        };
        spans.push(Span::styled(format!("{}", number + 1), theme.key()));
        spans.push(Span::styled(format!(" {} ", tab.title()), style));
        spans.push(Span::raw(" "));
    }
    frame.render_widget(Line::from(spans), area);
    let used = Tab::ALL
        .iter()
        .map(|tab| crate::tui::model::tab_width(*tab))
        .sum::<u16>()
        + 1;
    let rest = Rect {
        x: area.x + used.min(area.width),
        width: area.width.saturating_sub(used),
        ..area
    };
    let width = usize::from(rest.width);
    let fits = |text: &&String| Span::raw(text.as_str()).width() <= width;
    let texts = state(model);
    let text = texts.iter().find(fits).or(texts.last());
    let style = match &model.link {
        Link::Pending => theme.warning(),
        Link::Up => Theme::dim(),
        Link::Lost { .. } => theme.bad(),
    };
    let state = Span::styled(text.cloned().unwrap_or_default(), style);
    let line = Line::from(state).right_aligned();
    frame.render_widget(line, rest);
}

/// Whose VMs these are and how the daemon is, in words: the longest first.
fn state(model: &Model) -> Vec<String> {
    let host = model.host.as_deref().map(line_of);
    let host = host.map(|it| format!("{it}: ")).unwrap_or_default();
    match &model.link {
        Link::Pending => vec![format!("{host}connecting … "), "connecting … ".to_owned()],
        Link::Up => {
            let runs = |vm: &&VmView| vm.phase == Phase::Running;
            let (running, all) = (model.vms.all().filter(runs).count(), model.vms.count());
            let is_simulated = model.daemon.as_ref().is_some_and(|it| it.mode == "sim");
            let mode = if is_simulated { "simulated, " } else { "" };
            vec![
                format!("{host}{mode}{running} of {all} running "),
                format!("{host}{running} of {all} running "),
                format!("{host}{running}/{all} "),
            ]
        }
        Link::Lost { since, .. } => {
            let text = format!("daemon gone since {} ", age::since(*since, model.now));
            vec![format!("{host}{text}"), text]
        }
    }
}

/// The message, what is typed, or what is under way.
pub(super) fn notice(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    if let Some(typing) = &model.typing {
        let (prompt, input) = match typing {
            Typing::Filter(input) => (" filter: ", input),
            Typing::Search(input) => (" search: ", input),
        };
        let width = usize::from(area.width).saturating_sub(prompt.len() + 1);
        let scroll = input.visual_scroll(width);
        let shown: String = input.value().chars().skip(scroll).collect();
        let line = Line::from(vec![
            Span::styled(prompt, theme.key()),
            Span::raw(line_of(&shown)),
        ]);
        frame.render_widget(line, area);
        let column = prompt.len() + input.visual_cursor().max(scroll) - scroll;
        let column = u16::try_from(column)
            .unwrap_or(0)
            .min(area.width.saturating_sub(1));
        frame.set_cursor_position((area.x + column, area.y));
        return;
    }
    // A message goes by itself; the daemon may stay away.
    let line = if let Some(notice) = model.notices.standing(model.now) {
        let more = model
            .keys
            .key_of(Action::Messages)
            .filter(|_| notice.whole.contains('\n'));
        let more = more
            .map(|key| format!("  ({key} shows it whole)"))
            .unwrap_or_default();
        Line::from(vec![
            Span::styled(
                format!(" {}", line_of(&notice.line)),
                theme.tone(notice.tone),
            ),
            Span::styled(more, Theme::dim()),
        ])
    } else if let Link::Lost { error, .. } = &model.link {
        let key = model.keys.key_of(Action::StartDaemon);
        let key = key
            .map(|key| format!("; {key} starts it"))
            .unwrap_or_default();
        let text = format!(
            " what is shown is how things were{key}: {}",
            line_of(&error.to_string())
        );
        Line::styled(text, theme.warning())
    } else {
        under_way(model, theme)
    };
    frame.render_widget(line, area);
}

/// The operations that are under way, of all clients.
fn under_way(model: &Model, theme: Theme) -> Line<'static> {
    let mut running = model.operations.running();
    let Some(first) = running.next() else {
        return Line::default();
    };
    let took = age::since(first.operation.began, model.now);
    let more = running.count();
    let more = if more > 0 {
        format!("   and {more} more")
    } else {
        String::new()
    };
    let text = format!(" {}, {took}{more}", operation(first));
    Line::styled(text, theme.warning())
}

/// What an operation does, and at which step it is.
pub(super) fn operation(course: &Course) -> String {
    let name = course.operation.name.as_ref();
    let name = name.map_or("a new VM".to_owned(), ToString::to_string);
    let step = course.step().map(|step| format!(": {}", line_of(step)));
    let verb = course.operation.verb;
    format!("{verb} {name}{}", step.unwrap_or_default())
}
