//! The meanings of Firecracker's exit statuses: `FcExitCode` in its `src/vmm/src/lib.rs`.
//!
//! Firecracker exits with 0 when a guest resets its processor, as `reboot=k` makes it do.

/// The meaning of a status; `None` if Firecracker defines none.
pub(super) fn words(status: i32) -> Option<&'static str> {
    Some(match status {
        0 => "the guest reset its processor",
        1 => "an internal error",
        2 => "an error that it holds to be impossible",
        148 => "a system call that its seccomp filter forbids",
        149 => "SIGBUS: its memory or a disk is gone",
        150 => "SIGSEGV: a fault in Firecracker itself",
        151 => "SIGXFSZ: one of its files reached the size limit",
        152 => "an invalid configuration",
        153 => "invalid arguments",
        154 => "SIGXCPU: it reached the limit of CPU time",
        155 => "SIGPIPE",
        156 => "SIGHUP",
        157 => "SIGILL: an instruction that this processor does not have",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_firecracker_has_words_and_no_other() {
        let known: Vec<i32> = (0..=255).filter(|it| words(*it).is_some()).collect();
        let statuses: Vec<i32> = [0, 1, 2].into_iter().chain(148..=157).collect();
        assert_eq!(known, statuses);
    }
}
