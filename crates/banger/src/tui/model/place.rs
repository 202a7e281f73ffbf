//! Where the user is: the tab, and the pane beside the list.

/// What the screen is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tab {
    /// The VMs.
    #[default]
    Vms,
    /// The images.
    Images,
    /// The daemon.
    Daemon,
    /// The checks of the host.
    Doctor,
    /// The volumes.
    Volumes,
    /// The VMs that are deleted and can be restored.
    Trash,
}

impl Tab {
    /// All tabs, in order.
    pub(crate) const ALL: [Self; 6] = [
        Self::Vms,
        Self::Images,
        Self::Daemon,
        Self::Doctor,
        Self::Volumes,
        Self::Trash,
    ];

    /// Its title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Vms => "VMs",
            Self::Images => "images",
            Self::Daemon => "daemon",
            Self::Doctor => "doctor",
            Self::Volumes => "volumes",
            Self::Trash => "trash",
        }
    }
}

/// What is shown of the selected VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pane {
    /// Its settings and its state.
    #[default]
    Details,
    /// What it uses.
    Usage,
    /// What listens in it.
    Ports,
    /// What happened to it.
    Events,
    /// Its console.
    Console,
    /// Its hypervisor's log.
    Hypervisor,
}

impl Pane {
    /// All panes, in order.
    pub(crate) const ALL: [Self; 6] = [
        Self::Details,
        Self::Usage,
        Self::Ports,
        Self::Events,
        Self::Console,
        Self::Hypervisor,
    ];

    /// Its title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Details => "details",
            Self::Usage => "usage",
            Self::Ports => "ports",
            Self::Events => "events",
            Self::Console => "console",
            Self::Hypervisor => "hypervisor",
        }
    }

    /// Whether it is text with lines.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Console | Self::Hypervisor)
    }

    /// Whether it shows graphs.
    pub(crate) fn has_graphs(self) -> bool {
        matches!(self, Self::Details | Self::Usage)
    }
}
