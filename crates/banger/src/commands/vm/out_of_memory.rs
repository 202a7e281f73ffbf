//! What a user is told when a guest's memory was used up.

use banger_api::{StatsView, VmRef};

use crate::session::Session;

/// 128 and the number of SIGKILL, which the kernel sends when no memory is left.
const KILLED: u8 = 128 + 9;

/// How many processes the guest's kernel has killed because no memory was left; none if it has killed none.
pub(super) fn killed(stats: &StatsView) -> Option<String> {
    match stats.guest?.oom_kills? {
        0 => None,
        1 => Some("1 process was killed".to_owned()),
        count => Some(format!("{count} processes were killed")),
    }
}

/// After a command that ended with this status, tells that the guest's memory was used up, if that may be why.
pub(super) fn tell(vm: &VmRef, status: u8, session: &Session) {
    if status != KILLED {
        return;
    }
    let stats = session.daemon().and_then(|daemon| daemon.stats(vm));
    if let Some(killed) = stats.ok().as_ref().and_then(killed) {
        session.output.note(&format!(
            "the memory of `{vm}` was used up: since its boot, {killed}; see what it has: banger vm stats {vm}; \
             give it more once it is stopped: banger vm set {vm} --memory MIB"
        ));
    }
}
