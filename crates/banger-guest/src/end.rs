//! The end of a guest: the line that the guest prints on its console, and its parser for the
//! daemon.
//!
//! An orderly end finishes with a line of this program, after the image's init has unmounted
//! everything: `banger: end poweroff`, alone on a line. A panic is the kernel's own line. The guest
//! writes its console, so a false line affects that guest only.

pub use crate::protocol::Verb;

/// The prefix of the line for an orderly end.
const END: &str = "banger: end ";

/// The prefix of the line for a start that failed.
const CANNOT_BOOT: &str = "banger: cannot boot: ";

/// The first line of this program; earlier lines belong to an earlier start.
pub const START: &str = "banger: start";

const PANIC: &str = "Kernel panic - not syncing: ";

/// The maximum length of a reason, in characters.
const LONGEST: usize = 300;

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// An orderly power-off.
    Poweroff,
    /// An orderly reboot: the machine is started again.
    Reboot,
    /// An orderly halt.
    Halt,
    /// A panic of its kernel, with the kernel's line from `Kernel panic` on.
    Panic(String),
    /// A failure of this program to start the image, with the reason.
    CannotBoot(String),
    /// No line: the machine was reset, or ended without notice.
    Unknown,
}

/// The console line for an orderly end, with a newline before and after it.
#[must_use]
pub fn end_line(verb: Verb) -> String {
    let word = match verb {
        Verb::Poweroff => "poweroff",
        Verb::Reboot => "reboot",
        Verb::Halt => "halt",
    };
    format!("\r\n{END}{word}\r\n")
}

/// The console line for an image that cannot be started.
#[must_use]
pub fn cannot_boot_line(chain: &str) -> String {
    format!("\r\n{CANNOT_BOOT}{}\r\n", plain(chain))
}

/// The console line at the start.
#[must_use]
pub fn start_line() -> String {
    format!("\r\n{START}\r\n")
}

/// Determines how the guest ended, from the end of its last boot's console. The last line of
/// banger's or of a panic counts.
#[must_use]
pub fn read_end(console_tail: &str) -> End {
    let mut end = End::Unknown;
    for line in console_tail.split(['\n', '\r']) {
        match read_line(&plain(line)) {
            Some(Word::Start) => end = End::Unknown,
            Some(Word::End(said)) => end = said,
            // Lines of the kernel after banger's last line, or after a panic, add nothing.
            Some(Word::Kernel(said)) if end == End::Unknown => end = said,
            Some(Word::Kernel(_)) | None => {}
        }
    }
    end
}

/// Whether a machine that still runs has ended, according to its kernel's last line.
#[must_use]
pub fn is_over(console_tail: &str) -> bool {
    let last = console_tail
        .split(['\n', '\r'])
        .map(plain)
        .rfind(|line| !line.is_empty());
    last.is_some_and(|line| {
        let said = without_time(&line);
        said == "reboot: Power down" || said == "reboot: System halted"
    })
}

enum Word {
    Start,
    End(End),
    Kernel(End),
}

fn read_line(line: &str) -> Option<Word> {
    if line == START {
        return Some(Word::Start);
    }
    if let Some(verb) = line.strip_prefix(END) {
        return match verb {
            "poweroff" => Some(Word::End(End::Poweroff)),
            "reboot" => Some(Word::End(End::Reboot)),
            "halt" => Some(Word::End(End::Halt)),
            _ => None,
        };
    }
    if let Some(reason) = line.strip_prefix(CANNOT_BOOT) {
        return Some(Word::End(End::CannotBoot(bounded(reason))));
    }
    if let Some(panic) = find_panic(line) {
        return Some(Word::End(End::Panic(bounded(panic))));
    }
    match without_time(line) {
        "reboot: Power down" => Some(Word::Kernel(End::Poweroff)),
        "reboot: System halted" => Some(Word::Kernel(End::Halt)),
        "reboot: Restarting system" => Some(Word::Kernel(End::Reboot)),
        _ => None,
    }
}

/// The text of a kernel panic in a line: at its start, or after the time stamp of a kernel message,
/// which may itself follow a prompt. (`end Kernel panic` is the kernel's second line about it.)
fn find_panic(line: &str) -> Option<&str> {
    let (at, _) = line
        .match_indices(PANIC)
        .find(|&(at, _)| at == 0 || line[..at].ends_with("] "))?;
    line.get(at..)
}

/// A line without the time stamp of a kernel message, `[    1.234567] ` or `[    1.2][    T1] `.
fn without_time(line: &str) -> &str {
    match line.split_once("] ") {
        Some((stamp, rest)) if stamp.starts_with('[') && !stamp.contains(char::is_alphabetic) => {
            rest
        }
        Some((stamp, rest)) if stamp.starts_with('[') && stamp.contains("][") => rest,
        _ => line,
    }
}

fn bounded(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// Text without control characters and terminal sequences, trimmed.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            if letters.next_if_eq(&'[').is_some() {
                while letters
                    .next()
                    .is_some_and(|letter| !('@'..='~').contains(&letter))
                {}
            }
        } else if !letter.is_control() && !reorders(letter) {
            plain.push(letter);
        } else if letter == '\n' || letter == '\t' {
            plain.push(' ');
        }
    }
    plain.trim().to_owned()
}

/// Whether a character makes a terminal reorder the text around it.
fn reorders(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_words_of_each_end_are_read_back() {
        for (verb, end) in [
            (Verb::Poweroff, End::Poweroff),
            (Verb::Reboot, End::Reboot),
            (Verb::Halt, End::Halt),
        ] {
            let console = format!(
                "calm-otter login: {}[  9.1] reboot: Restarting system\r\n",
                end_line(verb)
            );
            assert_eq!(read_end(&console), end);
        }
    }

    #[test]
    fn the_last_word_counts() {
        let off = end_line(Verb::Poweroff);
        let panic = "[   12.345678] Kernel panic - not syncing: sysrq triggered crash\n";
        assert_eq!(
            read_end(&format!("{off}{}", end_line(Verb::Reboot))),
            End::Reboot
        );
        assert!(matches!(read_end(&format!("{off}{panic}")), End::Panic(_)));
        assert_eq!(read_end(&format!("{panic}{off}")), End::Poweroff);
        assert_eq!(
            read_end(&format!("{off}{}[ 0.5] Run /init", start_line())),
            End::Unknown
        );
    }

    #[test]
    fn a_panic_is_handed_on_with_its_line() {
        let console = "calm-otter login: [   12.3][    T1] Kernel panic - not syncing: sysrq triggered crash\r\n\
            [   12.4] CPU: 0 PID: 1\r\n\
            [   12.5] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\r\n\
            [   12.6] Rebooting in 1 seconds..\r\n";
        let line = "Kernel panic - not syncing: sysrq triggered crash";
        assert_eq!(read_end(console), End::Panic(line.into()));
    }

    #[test]
    fn words_that_are_only_like_the_real_ones_tell_nothing() {
        for console in [
            "",
            "root@calm-otter:~# echo banger: end poweroff",
            "banger: end poweroffs",
            "banger: end",
            "# grep 'Kernel panic - not syncing: ' /var/log/syslog",
            "[   12.5] ---[ end Kernel panic - not syncing: x ]---",
        ] {
            assert_eq!(read_end(console), End::Unknown, "{console:?}");
        }
    }

    #[test]
    fn an_image_without_our_last_word_has_the_kernels() {
        assert_eq!(read_end("[    9.1] reboot: Power down\r\n"), End::Poweroff);
        assert_eq!(
            read_end("[    9.1] reboot: Restarting system\r\n"),
            End::Reboot
        );
        let failed = format!(
            "{}[  9.1] reboot: Restarting system\n",
            cannot_boot_line("no `/dev/vda`")
        );
        assert_eq!(read_end(&failed), End::CannotBoot("no `/dev/vda`".into()));
    }

    #[test]
    fn terminal_sequences_are_not_in_the_way_and_lines_are_bounded() {
        assert_eq!(
            read_end("\u{1b}[0;1mbanger: end halt\u{1b}[0m\r\n"),
            End::Halt
        );
        let long = format!(
            "Kernel panic - not syncing: \u{7}\u{202e}\u{9b}{}",
            "x".repeat(10_000)
        );
        let End::Panic(line) = read_end(&long) else {
            panic!("no panic")
        };
        assert_eq!(line.chars().count(), LONGEST);
        assert!(!line.contains(['\u{7}', '\u{202e}', '\u{9b}']), "{line:?}");
    }

    #[test]
    fn a_machine_that_stands_still_is_over() {
        assert!(is_over("x\n[   12.345678] reboot: System halted\r\n"));
        assert!(is_over("[   12.345678][    T1] reboot: Power down"));
        assert!(is_over("reboot: Power down\n\n"));
        assert!(!is_over("[    1.0] reboot: Power down\nlogin:"));
        assert!(!is_over("# echo reboot: Power down"));
        assert!(!is_over(""));
    }

    proptest! {
        #[test]
        fn any_console_can_be_read(console in "(\\PC|\\x1b|\\[|\\n|\\r|banger: end |Kernel panic - not syncing: ){0,80}") {
            let _ = (read_end(&console), is_over(&console));
        }
    }
}
