//! Describes the users of a block device.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// The visible processes that have the device open, and the devices on top of it.
pub(super) fn of(device: u64) -> Vec<String> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let names = |folder: String| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut users: Vec<String> = names(format!("/sys/dev/block/{major}:{minor}/holders"))
        .map(|name| format!("the device `{name}`"))
        .collect();
    for process in names("/proc".to_owned()).filter(|name| name.parse::<u32>().is_ok()) {
        let opened = names(format!("/proc/{process}/fd")).any(|number| {
            fs::metadata(format!("/proc/{process}/fd/{number}")).is_ok_and(|it| it.rdev() == device)
        });
        if opened {
            let program = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            users.push(format!("process {process} (`{}`)", program.trim()));
        }
    }
    users
}
