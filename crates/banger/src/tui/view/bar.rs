//! The line of keys at the bottom.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::theme::Theme;
use crate::tui::model::Model;
use crate::tui::model::keys::{Action, Scope};

/// Actions, each with a short word for it.
type Keys = &'static [(Action, &'static str)];

const VMS: Keys = &[
    (Action::Shell, "shell"),
    (Action::Create, "new"),
    (Action::Start, "start"),
    (Action::Stop, "stop"),
    (Action::Delete, "delete"),
    (Action::Find, "filter"),
    (Action::Help, "help"),
    (Action::Quit, "quit"),
    (Action::Set, "settings"),
    (Action::Mark, "mark"),
    (Action::Console, "console"),
    (Action::Restart, "restart"),
    (Action::Nat, "NAT"),
    (Action::SortNext, "sort"),
    (Action::CopyAddress, "copy"),
    (Action::Palette, "all actions"),
];

const TEXT: Keys = &[
    (Action::Back, "back"),
    (Action::Follow, "follow"),
    (Action::Find, "search"),
    (Action::NextMatch, "next"),
    (Action::MarkLine, "mark"),
    (Action::CopyLines, "copy"),
    (Action::NextPane, "next pane"),
    (Action::Help, "help"),
];

const PORTS: Keys = &[
    (Action::Back, "back"),
    (Action::OpenPort, "open"),
    (Action::ForwardPort, "forward"),
    (Action::CopyPort, "copy"),
    (Action::Refresh, "refresh"),
    (Action::NextPane, "next pane"),
    (Action::Help, "help"),
];

const VOLUMES: Keys = &[
    (Action::CreateVolume, "new"),
    (Action::DeleteVolume, "delete"),
    (Action::Refresh, "refresh"),
    (Action::Help, "help"),
    (Action::Quit, "quit"),
];

const TRASH: Keys = &[
    (Action::Undelete, "restore"),
    (Action::Purge, "delete permanently"),
    (Action::PurgeAll, "empty"),
    (Action::Refresh, "refresh"),
    (Action::Help, "help"),
    (Action::Quit, "quit"),
];

const IMAGES: Keys = &[
    (Action::CreateFromImage, "new VM"),
    (Action::BuildImage, "build"),
    (Action::DeleteImage, "delete"),
    (Action::PruneImages, "prune"),
    (Action::Refresh, "refresh"),
    (Action::Help, "help"),
    (Action::Quit, "quit"),
];

const DOCTOR: Keys = &[
    (Action::CopyFix, "copy fix"),
    (Action::RunFix, "run fix"),
    (Action::Refresh, "check again"),
    (Action::Help, "help"),
    (Action::Quit, "quit"),
];

/// In a pane beside the list that is only read, such as the details.
const READ: Keys = &[
    (Action::Back, "back"),
    (Action::NextPane, "next pane"),
    (Action::Zoom, "zoom"),
    (Action::Refresh, "refresh"),
    (Action::Help, "help"),
    (Action::Quit, "quit"),
];

/// The keys that matter in a place, the most useful first.
fn keys_of(scope: Scope, is_in_text: bool) -> Keys {
    match scope {
        Scope::Vms => VMS,
        Scope::Text if is_in_text => TEXT,
        Scope::Text => READ,
        Scope::Ports => PORTS,
        Scope::Volumes => VOLUMES,
        Scope::Trash => TRASH,
        Scope::Images => IMAGES,
        Scope::Doctor => DOCTOR,
        Scope::Everywhere => &[],
    }
}

/// The keys that matter now, as many as there is room for.
pub(super) fn keys(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let mut spans = vec![Span::raw(" ")];
    let mut width = 1;
    for (action, word) in keys_of(model.scope(), model.is_in_text()) {
        let Some(key) = model.keys.key_of(*action) else {
            continue;
        };
        let key = key.to_string();
        let wanted = key.len() + word.len() + 3;
        // A part of a word helps nobody.
        if width + wanted > usize::from(area.width) {
            break;
        }
        width += wanted;
        spans.push(Span::styled(key, theme.key()));
        spans.push(Span::raw(format!(" {word}  ")));
    }
    frame.render_widget(Line::from(spans), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::model::keys::{HELP, KeyTable};

    #[test]
    fn every_key_that_is_shown_works_where_it_is_shown() {
        let table = KeyTable::default();
        for (scope, _) in HELP {
            for is_in_text in [true, false] {
                for (action, word) in keys_of(scope, is_in_text) {
                    let key = table.key_of(*action).unwrap();
                    assert_eq!(table.action(key, scope), Some(*action), "{scope:?}: {word}");
                }
            }
        }
    }
}
