//! Draws the model: pure, from the model alone. The only characters outside of text are borders.

mod bar;
mod details;
mod events;
mod frame;
mod list;
mod overlay;
mod pane;
mod ports;
mod stores;
mod tabs;
mod text;
mod theme;
mod usage;

#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::buffer::Buffer;

use super::model::{Model, Pane, Tab};
use theme::Theme;

/// Draws everything, and returns the last row of details or events that can be the first one.
pub(crate) fn draw(model: &Model, frame: &mut Frame<'_>) -> u16 {
    let theme = Theme(model.look);
    let rooms = model.rooms();
    frame::head(model, theme, frame, rooms.head);
    let mut pane_end = 0;
    match model.tab {
        Tab::Vms => {
            if !rooms.list.is_empty() {
                list::vms(model, theme, frame, rooms.list);
            }
            if !rooms.pane.is_empty() {
                match model.pane {
                    Pane::Details => {
                        pane_end = details::details(model, theme, frame, rooms.pane);
                    }
                    Pane::Usage => usage::usage(model, theme, frame, rooms.pane),
                    Pane::Events => {
                        pane_end = events::events(model, theme, frame, rooms.pane);
                    }
                    Pane::Ports => ports::ports(model, theme, frame, rooms.pane),
                    Pane::Console | Pane::Hypervisor => {
                        text::console(model, theme, frame, rooms.pane);
                    }
                }
            }
        }
        Tab::Volumes => stores::volumes(model, theme, frame, rooms.list),
        Tab::Trash => stores::trash(model, theme, frame, rooms.list),
        Tab::Images => stores::images(model, theme, frame, rooms.list),
        Tab::Daemon => tabs::daemon(model, theme, frame, rooms.list),
        Tab::Doctor => tabs::doctor(model, theme, frame, rooms.list),
    }
    frame::notice(model, theme, frame, rooms.notice);
    bar::keys(model, theme, frame, rooms.keys);
    overlay::draw(model, theme, frame);
    if !model.look.unicode {
        make_ascii(frame.buffer_mut());
    }
    pane_end
}

/// Text may have characters that a locale without UTF-8 would not show, such as the words of a guest.
fn make_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let plain = match cell.symbol() {
                "…" => "~",
                "→" => ">",
                _ => "?",
            };
            cell.set_symbol(plain);
        }
    }
}

/// Text of the daemon or a guest, harmless and in one line.
fn line_of(text: &str) -> String {
    banger_api::harmless::visible(text).replace(['\n', '\t'], " ")
}
