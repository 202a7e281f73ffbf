//! What can be done, and where.

/// What a key or a word of the palette does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Up,
    Down,
    HalfUp,
    HalfDown,
    PageUp,
    PageDown,
    First,
    Last,
    Left,
    Right,
    Find,
    NextMatch,
    PreviousMatch,
    Follow,
    Mark,
    MarkAll,
    SortNext,
    SortReverse,
    HideStopped,
    Shell,
    Ssh,
    Serial,
    Create,
    Start,
    Rescue,
    Stop,
    Restart,
    Kill,
    Delete,
    Set,
    Rename,
    Clone,
    Export,
    Import,
    Nat,
    Protect,
    Autostart,
    CopyName,
    CopyAddress,
    CopySsh,
    MarkLine,
    CopyLines,
    CopyAll,
    Console,
    SwitchFocus,
    NextPane,
    PreviousPane,
    Zoom,
    TabVms,
    TabImages,
    TabDaemon,
    TabDoctor,
    TabVolumes,
    TabTrash,
    Refresh,
    CreateFromImage,
    BuildImage,
    ImportImage,
    ExportImage,
    RenameImage,
    DeleteImage,
    PruneImages,
    CreateVolume,
    DeleteVolume,
    Undelete,
    Purge,
    PurgeAll,
    OpenPort,
    ForwardPort,
    CopyPort,
    CopyFix,
    RunFix,
    StartDaemon,
    EditConfig,
    Palette,
    Prompt,
    Help,
    Messages,
    Mouse,
    Redraw,
    Suspend,
    Back,
    Quit,
}

/// Where a key has its meaning; one that is in the place itself goes before one of everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In every place.
    Everywhere,
    /// In the list of VMs.
    Vms,
    /// In text that scrolls: the panes beside the list, and the daemon's log.
    Text,
    /// In the list of ports.
    Ports,
    /// In the list of images.
    Images,
    /// In the list of volumes.
    Volumes,
    /// In the trash.
    Trash,
    /// In the list of checks.
    Doctor,
}

/// An action with its usual keys.
#[derive(Debug)]
pub(crate) struct Binding {
    /// What it does.
    pub(crate) action: Action,
    /// Its name, in the palette and in the user's key table.
    pub(crate) name: &'static str,
    /// The keys that do it where the user chose none.
    pub(crate) keys: &'static [&'static str],
    /// What it does, in words.
    pub(crate) help: &'static str,
    /// Where.
    pub(crate) scope: Scope,
}
