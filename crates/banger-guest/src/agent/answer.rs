//! The agent's answers to asks.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use banger_guest::config::{GREETING_PATH, NewName, Resolvers};
use banger_guest::protocol::{Answer, Ask, Phase};

use super::status;
use crate::boot_record::BootRecord;
use crate::system::replace::{self, Rights};
use crate::system::{clock, enter, host_name, raw, resolvers};

/// An answer, or the reason of a refusal.
pub(crate) type Answered = Result<Answer, String>;

/// This directory exists while systemd is the first process.
const SYSTEMD: &str = "/run/systemd/system";

/// The real-time signal at which systemd powers off, counted from `SIGRTMIN`.
const SYSTEMD_POWEROFF: i32 = 4;

/// Answers an ask at once; `None` for the one that takes long, which is [`sync`].
pub(crate) fn answer(ask: &Ask, phase: Phase, record: &BootRecord) -> Option<Answered> {
    match ask {
        Ask::Sync => None,
        Ask::Poweroff => Some(power_off()),
        Ask::SetClock {
            unix_nanos,
            tolerance_millis,
        } => {
            let tolerance = Duration::from_millis(*tolerance_millis);
            Some(set_clock(*unix_nanos, tolerance))
        }
        Ask::SetResolvers(resolvers) => Some(set_resolvers(resolvers)),
        Ask::Status => Some(Ok(Answer::Status(status::status(phase, record)))),
        Ask::Rename(name) => Some(rename(name)),
    }
}

/// Syncs all disks: banger's one by one, because only that reports errors, then all others.
pub(crate) fn sync(mounts: &[String]) -> Answered {
    for mount in mounts {
        File::open(mount)
            .and_then(|directory| Ok(rustix::fs::syncfs(&directory)?))
            .map_err(|cause| format!("sync `{mount}`: {cause}"))?;
    }
    rustix::fs::sync();
    Ok(Answer::Done)
}

fn power_off() -> Answered {
    let begun = if Path::new(SYSTEMD).is_dir() {
        raw::signal_init(SYSTEMD_POWEROFF).map_err(std::io::Error::from)
    } else {
        enter::program("/sbin/poweroff").spawn().map(|mut child| {
            std::thread::spawn(move || child.wait());
        })
    };
    begun
        .map(|()| Answer::Done)
        .map_err(|cause| format!("start to power off: {cause}"))
}

fn set_clock(given: u64, tolerance: Duration) -> Answered {
    let ours = clock::unix_nanos();
    let stepped = u128::from(ours.abs_diff(given)) > tolerance.as_nanos();
    if stepped {
        clock::set(given).map_err(|cause| format!("set the clock: {cause}"))?;
    }
    Ok(Answer::Clock {
        off_by_millis: clock::off_by_millis(ours, given),
        stepped,
    })
}

fn set_resolvers(given: &Resolvers) -> Answered {
    given.validate().map_err(|cause| cause.to_string())?;
    resolvers::tell(given)
        .map(|()| Answer::Done)
        .map_err(|cause| format!("set the guest's resolvers: {cause}"))
}

fn rename(name: &NewName) -> Answered {
    name.validate().map_err(|cause| cause.to_string())?;
    let greeting = name.greeting.as_bytes();
    host_name::replace(&name.former, &name.hostname)
        .and_then(|()| host_name::set(&name.hostname))
        .and_then(|()| replace::write(Path::new(GREETING_PATH), greeting, Rights::root(0o644)))
        .map(|()| Answer::Done)
        .map_err(|cause| format!("set the host name `{}`: {cause}", name.hostname))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_within_the_tolerance_is_left_alone() {
        let given = clock::unix_nanos() + 3_000_000_000;
        let answer = set_clock(given, Duration::from_secs(60)).unwrap();
        let Answer::Clock {
            off_by_millis,
            stepped: false,
        } = answer
        else {
            panic!("{answer:?}")
        };
        assert!((-3000..-1000).contains(&off_by_millis), "{off_by_millis}");
    }

    #[test]
    fn resolvers_that_could_break_out_of_a_line_are_refused() {
        let resolvers = Resolvers {
            servers: vec![],
            search: vec!["a\nb".into()],
        };
        assert!(
            set_resolvers(&resolvers)
                .unwrap_err()
                .contains("dns.search")
        );
    }

    #[test]
    fn a_name_that_could_break_out_of_a_line_is_refused() {
        let name = NewName {
            former: vec!["web\n".to_owned()],
            hostname: "api".to_owned(),
            greeting: String::new(),
        };
        assert!(rename(&name).unwrap_err().contains("former"));
    }

    #[test]
    fn everything_is_synced_and_what_cannot_be_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent").display().to_string();
        let error = sync(std::slice::from_ref(&absent)).unwrap_err();
        assert_eq!(error.split(':').next(), Some(&*format!("sync `{absent}`")));
    }
}
