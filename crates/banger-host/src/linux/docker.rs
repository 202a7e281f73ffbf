//! Being forwarded where Docker drops what is not its own.
//!
//! An accept in our table does not help there: every base chain must accept. Docker keeps the
//! chain `DOCKER-USER` for rules of others, and only iptables may write to it: rules that nft puts
//! into an iptables table are shown wrongly by iptables afterwards.

use super::files::made;
use super::tap;
use crate::command::Command;
use crate::{Change, Error, Kind, Result};

const CHAIN: &str = "DOCKER-USER";

/// How many copies of one rule of ours are taken away at once.
const MOST_COPIES: usize = 100;

/// The words of our two rules, without what is done with them.
fn rules(prefix: &str) -> [Vec<String>; 2] {
    let words = |text: String| text.split(' ').map(str::to_owned).collect();
    let end = "-m comment --comment banger -j ACCEPT";
    [
        words(format!("-i {prefix}+ {end}")),
        words(format!(
            "-o {prefix}+ -m conntrack --ctstate RELATED,ESTABLISHED {end}"
        )),
    ]
}

fn iptables(action: &str, rule: &[String]) -> Command {
    // Another iptables may hold the lock: ten seconds are enough for any.
    Command::new("iptables")
        .args(["-w", "10", action, CHAIN])
        .args(rule)
}

/// Whether there is such a chain.
fn chain_exists() -> Result<bool> {
    let command = iptables("-S", &[]);
    if !command.program_exists() {
        return Ok(false);
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(true);
    }
    let errors = output.errors();
    // Without the rights we know nothing of it, and can change nothing either.
    if errors.contains("Permission denied") || errors.contains("you must be root") {
        return Err(Error::new(Kind::Denied, errors.trim()).within(format!("run `{command}`")));
    }
    Ok(false)
}

fn is_there(rule: &[String]) -> Result<bool> {
    Ok(iptables("-C", rule).output()?.status.success())
}

/// Op::AcceptInDockerUser.
pub(super) fn accept(prefix: &str, on: bool) -> Result<Change> {
    tap::check_name(prefix)?;
    let shown = || format!("look after the chain `{CHAIN}`");
    if !chain_exists().map_err(|error| error.within(shown()))? {
        return Ok(Change::Already);
    }
    let mut changed = false;
    for rule in rules(prefix) {
        // A rule that stands there more than once is taken away as often.
        let most = if on { 1 } else { MOST_COPIES };
        for _ in 0..most {
            if is_there(&rule)? == on {
                break;
            }
            let action = if on { "-I" } else { "-D" };
            iptables(action, &rule)
                .run()
                .map_err(|error| error.within(shown()))?;
            changed = true;
        }
    }
    Ok(made(changed))
}
