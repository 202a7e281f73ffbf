//! Styles: the terminal's own sixteen colours and attributes, on its own background, so that light
//! and dark terminals both show them. Without colours, attributes alone tell the same.

use banger_api::{Phase, Verdict, VmView};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

use crate::tui::model::Look;
use crate::tui::model::notices::Tone;

/// Borders for a terminal without Unicode.
const PLAIN: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// The styles of a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme(pub(super) Look);

impl Theme {
    fn colour(self, colour: Color) -> Style {
        if self.0.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// What matters less. Bright black is invisible on some backgrounds; dim text is not.
    pub(super) fn dim() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What matters more.
    pub(super) fn bold() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The line under the cursor of what has the keys, and of what has not.
    pub(super) fn cursor(focus: bool) -> Style {
        if focus {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new().add_modifier(Modifier::UNDERLINED)
        }
    }

    /// A border of what has the keys, and of what has not.
    pub(super) fn border(self, focus: bool) -> Style {
        if focus {
            self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
        } else {
            Self::dim()
        }
    }

    /// The characters of borders.
    pub(super) fn border_set(self) -> border::Set<'static> {
        if self.0.unicode {
            border::ROUNDED
        } else {
            PLAIN
        }
    }

    /// A key in the key bar and the help.
    pub(super) fn key(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// What is marked, or found.
    pub(super) fn mark(self) -> Style {
        self.colour(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// What is well.
    pub(super) fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// What is under way, or has a drawback.
    pub(super) fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// What has failed.
    pub(super) fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// The phase of a VM.
    pub(super) fn phase(self, vm: &VmView) -> Style {
        if vm.paused {
            return self.bad();
        }
        match vm.phase {
            Phase::Running => self.good(),
            Phase::Stopped | Phase::Suspended => Self::dim(),
            Phase::Creating
            | Phase::Starting
            | Phase::Suspending
            | Phase::Resuming
            | Phase::Stopping
            | Phase::Deleting => self.warning(),
        }
    }

    /// A message.
    pub(super) fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Good => self.good(),
            Tone::Warning => self.warning(),
            Tone::Bad => self.bad(),
        }
    }

    /// The outcome of a check.
    pub(super) fn verdict(self, verdict: Verdict) -> Style {
        match verdict {
            Verdict::Pass => self.good(),
            Verdict::Warn => self.warning(),
            Verdict::Fail => self.bad(),
        }
    }
}
