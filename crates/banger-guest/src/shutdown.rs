//! `/shutdown`: the last process of a guest with systemd, which returns here when it has stopped
//! everything. It unmounts the remaining file systems, prints how the guest ends, and resets the
//! machine: a reset ends the process of every hypervisor, while a power-off does not.

use std::fs;
use std::path::{Path, PathBuf};

use banger_guest::end::{Verb, end_line};
use banger_guest::protocol::Event;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::system::{RebootCommand, reboot};

use crate::system::console;
use crate::system::port::Port;

/// The directory where systemd mounts the old root.
const OLD_ROOT: &str = "/oldroot";

/// The maximum number of rounds of unmounting; a round without success is the last.
const ROUNDS: usize = 8;

pub(crate) fn run(arguments: &[String]) -> ! {
    let verb = verb(arguments);
    let left = unmount_all();
    rustix::fs::sync();
    for path in left {
        console::warn(&format!("`{}` could not be unmounted", path.display()));
    }
    tell(verb);
    console::say(&end_line(verb));
    let _ = reboot(RebootCommand::Restart);
    // The reboot failed. The kernel panics when the first process ends, and restarts.
    std::process::abort();
}

fn verb(arguments: &[String]) -> Verb {
    for argument in arguments {
        match argument.as_str() {
            "poweroff" => return Verb::Poweroff,
            "halt" => return Verb::Halt,
            "reboot" | "kexec" => return Verb::Reboot,
            _ => {}
        }
    }
    Verb::Reboot
}

/// Reports the end to a connected daemon; otherwise the daemon reads it on the console.
fn tell(verb: Verb) {
    if let Some(mut port) = Port::open(None) {
        port.session().tell(Event::End(verb));
        port.flush();
    }
}

/// Unmounts everything of the old root, or makes it read-only; returns what is still mounted.
fn unmount_all() -> Vec<PathBuf> {
    let mut before = usize::MAX;
    for _ in 0..ROUNDS {
        let mounts = mounts();
        if mounts.is_empty() || mounts.len() >= before {
            break;
        }
        before = mounts.len();
        for mount in mounts.iter().rev() {
            let _ = unmount(mount, UnmountFlags::empty());
        }
    }
    let left = mounts();
    for mount in left.iter().rev() {
        let _ = mount_remount(mount, MountFlags::RDONLY, c"");
    }
    left
}

fn mounts() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    below(&table, Path::new(OLD_ROOT))
}

/// The mount points at and below `root`, in the order of mounting.
fn below(mountinfo: &str, root: &Path) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|path| path.starts_with(root))
        .collect()
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescape(field: &str) -> String {
    let replaced = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    replaced
        .iter()
        .fold(field.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_found_among_systemds_words() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            verb(&words("poweroff --timeout 90000000us --log-level 6")),
            Verb::Poweroff
        );
        assert_eq!(verb(&words("--log-target kmsg halt")), Verb::Halt);
        assert_eq!(verb(&words("kexec")), Verb::Reboot);
        assert_eq!(verb(&[]), Verb::Reboot);
    }

    #[test]
    fn only_mounts_of_the_old_root_are_taken() {
        let table = "21 1 0:19 / / rw - tmpfs tmpfs rw\n\
            22 21 254:0 / /oldroot rw - ext4 /dev/vda rw\n\
            23 22 254:16 / /oldroot/my\\040work rw - ext4 /dev/vdb rw\n\
            24 21 0:5 / /oldrooted rw - tmpfs tmpfs rw\n";
        let found = below(table, Path::new(OLD_ROOT));
        assert_eq!(
            found,
            [Path::new("/oldroot"), Path::new("/oldroot/my work")]
        );
    }
}
