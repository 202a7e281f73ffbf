//! What a user is told when a guest has run out of memory.

use banger_api::{StatsView, VmRef};

use crate::session::Session;

/// 128 and the number of SIGKILL, which the kernel's out-of-memory killer sends.
const KILLED: u8 = 128 + 9;

/// The number of processes that the guest's out-of-memory killer has killed, in words. None if there are none, or
/// the guest does not tell.
pub(super) fn killed(stats: &StatsView) -> Option<String> {
    match stats.guest?.oom_kills? {
        0 => None,
        1 => Some("1 process".to_owned()),
        count => Some(format!("{count} processes")),
    }
}

/// Prints a note if a command that ended with this status was killed by the out-of-memory killer. A guest that cannot
/// tell is asked what it has killed since boot, after a status that may come of it.
pub(super) fn tell(vm: &VmRef, status: u8, oom_killed: Option<bool>, session: &Session) {
    let output = session.output;
    if output.quiet || output.json {
        return;
    }
    if oom_killed == Some(true) && status != 0 {
        output.note(&format!(
            "`{vm}` has run out of memory: its kernel has killed a process of this command; see its usage: banger vm \
             stats {vm}; to give it more, stop it first: banger vm set {vm} --memory SIZE"
        ));
    }
    if oom_killed.is_some() || status != KILLED {
        return;
    }
    let stats = session.daemon().and_then(|daemon| daemon.stats(vm));
    if let Some(killed) = stats.ok().as_ref().and_then(killed) {
        output.note(&format!(
            "`{vm}` has run out of memory: its kernel has killed {killed} since boot; see its usage: banger vm stats {vm}; \
             to give it more, stop it first: banger vm set {vm} --memory SIZE"
        ));
    }
}
