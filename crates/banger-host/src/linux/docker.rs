//! Rules in Docker's own chain, because Docker drops forwarded packets of others.
//!
//! An accept in banger's table is not enough: every base chain must accept. Docker reserves the
//! chain `DOCKER-USER` for rules of others. Only iptables may write to it, because iptables
//! misreads rules that nft adds to its tables.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::files::made;
use super::tap;
use crate::command::{Command, PROMPTLY};
use crate::{Change, Error, Kind, Result};

const CHAIN: &str = "DOCKER-USER";

/// The maximum number of copies of a rule that are removed at once.
const MOST_COPIES: usize = 100;

/// The matches of banger's two rules, without their targets.
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
    // Another iptables may hold the lock; it never takes as long as ten seconds.
    Command::new("iptables")
        .args(["-w", "10", action, CHAIN])
        .args(rule)
        .patience(PROMPTLY)
}

/// Whether the chain exists.
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
    // Without privileges the chain can be neither read nor changed.
    if errors.contains("Permission denied") || errors.contains("you must be root") {
        return Err(Error::new(Kind::Denied, errors.trim()).within(format!("run `{command}`")));
    }
    Ok(false)
}

fn is_there(rule: &[String]) -> Result<bool> {
    Ok(iptables("-C", rule).output()?.status.success())
}

/// How long an answer is cached, since each one runs a program.
const FRESH: Duration = Duration::from_secs(3);

/// The last answer: its time, its TAP prefix, and whether Docker accepts.
#[derive(Debug, Default)]
pub(crate) struct DockerAnswer(Mutex<Option<(Instant, String, bool)>>);

impl DockerAnswer {
    /// The cached answer if it is fresh, otherwise a new one by `look`.
    pub(crate) fn answer(
        &self,
        tap_prefix: &str,
        look: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, prefix, answer)) = &*last
            && at.elapsed() < FRESH
            && prefix == tap_prefix
        {
            return Ok(*answer);
        }
        let answer = look()?;
        *last = Some((Instant::now(), tap_prefix.to_owned(), answer));
        Ok(answer)
    }

    /// Drops the cached answer.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether the chain, if it exists, has banger's rules.
pub(super) fn is_accepted(prefix: &str) -> Result<bool> {
    tap::check_name(prefix)?;
    if !chain_exists()? {
        return Ok(true);
    }
    for rule in rules(prefix) {
        if !is_there(&rule)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds banger's rules to the chain, if it exists, or removes them.
pub(super) fn accept(prefix: &str, on: bool) -> Result<Change> {
    tap::check_name(prefix)?;
    let describe = || format!("look after the chain `{CHAIN}`");
    if !chain_exists().map_err(|error| error.within(describe()))? {
        return Ok(Change::Already);
    }
    let mut changed = false;
    for rule in rules(prefix) {
        // A rule may be there several times; each deletion removes one copy.
        let most = if on { 1 } else { MOST_COPIES };
        for _ in 0..most {
            if is_there(&rule)? == on {
                break;
            }
            let action = if on { "-I" } else { "-D" };
            iptables(action, &rule)
                .run()
                .map_err(|error| error.within(describe()))?;
            changed = true;
        }
    }
    Ok(made(changed))
}
