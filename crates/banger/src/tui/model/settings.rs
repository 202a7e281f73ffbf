//! What is kept between runs, and how the terminal can show things.

use serde::{Deserialize, Serialize};

use super::vms::Sort;
use super::{Pane, Tab};

/// What is kept between runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Preferences {
    pub(crate) tab: Tab,
    pub(crate) pane: Pane,
    pub(crate) sort: Sort,
    pub(crate) reverse: bool,
    pub(crate) hide_stopped: bool,
    pub(crate) filter: String,
    pub(crate) mouse: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            tab: Tab::default(),
            pane: Pane::default(),
            sort: Sort::default(),
            reverse: false,
            hide_stopped: false,
            filter: String::new(),
            mouse: true,
        }
    }
}

/// How the terminal can show things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// In colours: the terminal's own sixteen, on its own background.
    pub(crate) colour: bool,
    /// With lines and blocks of Unicode.
    pub(crate) unicode: bool,
}
