//! `banger daemon logs`: reads the daemon's log from its files. It needs no daemon, so it also
//! shows why one does not start.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use banger_api::{Code, Error, LogLevel, Result};
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned, civil};
use rustix::fs::inotify;

use super::log_line::LogLine;
use crate::failure::Outcome;
use crate::output::Output;
use crate::session::Session;
use crate::{completion, connect};

/// The default number of past lines.
const LAST: usize = 1000;

/// The longest wait for further lines.
const PATIENCE: Duration = Duration::from_secs(60);

/// Print the daemon's log, oldest line first.
///
/// Reads the log's files, so it works while no daemon is running. Each line about a command ends with the command's id, as do the events of `GET /v1/events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger daemon logs -f
  banger daemon logs --vm web --since 10m
  banger daemon logs --level warn --since 2026-11-26T12:00
  banger daemon logs --json | jq 'select(.level == \"ERROR\")'")]
pub(crate) struct Logs {
    /// Follow the log as it grows, until ^C.
    #[arg(long, short)]
    follow: bool,

    /// Lines about this VM only, by its name.
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completion::vms))]
    vm: Option<String>,

    /// Lines from this time on: 10m, 2h, 1d, or 2026-11-26T12:00 [default: the last 1000 lines].
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,

    /// Lines of this level and of those that matter more: debug, info, warn or error.
    #[arg(long, value_name = "LEVEL")]
    level: Option<LogLevel>,

    /// Lines about the command with this id only.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
}

impl Logs {
    /// Prints the log.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let state = match session.running_daemon() {
            Ok(Some((_, view))) => PathBuf::from(view.state),
            // If the daemon does not answer, its log exists all the same.
            Ok(None) | Err(_) => session.places.location.state.clone(),
        };
        let path = state.join("bangerd.log");
        let mut log = Log::open(&path)?;
        let mut last = VecDeque::new();
        for older in [path.with_extension("log.1"), path.clone()] {
            let mut file = match File::open(&older) {
                Ok(file) => BufReader::new(file),
                Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
                Err(cause) => return Err(trouble(&older, &cause).into()),
            };
            let mut line = Vec::new();
            while read_line(&mut file, &mut line).map_err(|cause| trouble(&older, &cause))? {
                if let Some(text) = self.render(session, &line) {
                    last.push_back(text);
                    if self.since.is_none() && last.len() > LAST {
                        last.pop_front();
                    }
                }
                line.clear();
            }
            if older == path {
                log.read_to_here(file)?;
            }
        }
        for line in last {
            session.output.text(&line)?;
        }
        if !self.follow {
            return Ok(ExitCode::SUCCESS);
        }
        crate::reader::leave_with_it();
        loop {
            for line in log.wait_for_more()? {
                if let Some(text) = self.render(session, &line) {
                    session.output.text(&text)?;
                }
            }
        }
    }

    /// The line in the requested form, if it is selected.
    fn render(&self, session: &Session, line: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(line);
        let line = LogLine::read(text.trim_end());
        let is_wanted = self.vm.is_none() || self.vm == line.vm;
        let is_wanted = is_wanted && (self.request.is_none() || self.request == line.request);
        let is_recent = self
            .since
            .is_none_or(|since| line.at.is_none_or(|at| at >= since));
        let matters = self.level.is_none_or(|level| line.level >= level);
        if !is_wanted || !is_recent || !matters {
            return None;
        }
        Some(if session.output.json {
            banger_api::harmless::json(text.trim_end()).to_string()
        } else {
            line.text(&TimeZone::system(), session.output)
        })
    }
}

/// Passes the last lines of the log, and then each new one, to `heard`, until that returns false.
/// It is also called from time to time without a line.
///
/// # Errors
/// If there is no log, or it cannot be read.
pub(crate) fn follow_log(
    state: &Path,
    mut heard: impl FnMut(Option<String>) -> bool,
) -> Result<()> {
    let path = state.join("bangerd.log");
    let plain = Output {
        json: false,
        quiet: false,
        terminal: false,
        colour: false,
        unicode: false,
    };
    let zone = TimeZone::system();
    let text = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        LogLine::read(line.trim_end()).text(&zone, plain) + "\n"
    };
    let mut log = Log::open(&path)?;
    let lines = log.read_all()?;
    for line in &lines[lines.len().saturating_sub(LAST)..] {
        if !heard(Some(text(line))) {
            return Ok(());
        }
    }
    while heard(None) {
        for line in log.wait_for_more()? {
            if !heard(Some(text(&line))) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The log as it grows, across rotations.
struct Log {
    path: PathBuf,
    watch: std::os::fd::OwnedFd,
    file: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    part: Vec<u8>,
}

impl Log {
    /// Opens the log, and watches its folder, so that no later line is missed.
    fn open(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !folder.is_dir() {
            return Err(Error::new(
                Code::NotFound,
                format!(
                    "there is no log yet: no daemon has run in `{}`",
                    folder.display()
                ),
            ));
        }
        let watching = |cause: rustix::io::Errno| trouble(folder, &cause.into());
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags).map_err(watching)?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_FROM;
        inotify::add_watch(&watch, folder, events).map_err(watching)?;
        Ok(Self {
            path: path.to_owned(),
            watch,
            file: None,
            part: Vec::new(),
        })
    }

    /// Continues at the position of this reader.
    fn read_to_here(&mut self, mut file: BufReader<File>) -> Result<()> {
        let here = file
            .stream_position()
            .map_err(|cause| trouble(&self.path, &cause))?;
        file.seek(SeekFrom::Start(here))
            .map_err(|cause| trouble(&self.path, &cause))?;
        self.file = Some(file);
        Ok(())
    }

    /// Waits, and returns the new lines.
    fn wait_for_more(&mut self) -> Result<Vec<Vec<u8>>> {
        connect::is_readable(&self.watch, PATIENCE);
        self.forget_events();
        let mut lines = self.read_all()?;
        if self.is_another() {
            // Everything that was written before the rotation has been read.
            self.file = None;
            lines.extend(self.read_all()?);
        }
        Ok(lines)
    }

    fn read_all(&mut self) -> Result<Vec<Vec<u8>>> {
        let map = |cause: std::io::Error| trouble(&self.path, &cause);
        if self.file.is_none() {
            self.part.clear();
            self.file = match File::open(&self.path) {
                Ok(file) => Some(BufReader::new(file)),
                Err(cause) if cause.kind() == ErrorKind::NotFound => None,
                Err(cause) => return Err(map(cause)),
            };
        }
        let mut lines = Vec::new();
        if let Some(file) = &mut self.file {
            while file.read_until(b'\n', &mut self.part).map_err(map)? > 0 {
                if self.part.ends_with(b"\n") {
                    lines.push(std::mem::take(&mut self.part));
                }
            }
        }
        Ok(lines)
    }

    /// Whether the log has been rotated.
    fn is_another(&self) -> bool {
        let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let open = self
            .file
            .as_ref()
            .and_then(|it| it.get_ref().metadata().ok());
        self.path.metadata().ok().map(identity) != open.map(identity)
    }

    fn forget_events(&self) {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.watch, &mut buffer);
        // The next read would block.
        while let Ok(event) = reader.next() {
            let _: Option<&OsStr> = event
                .file_name()
                .map(|name| OsStr::new(name.to_str().unwrap_or_default()));
        }
    }
}

/// Reads up to a newline; false at the end.
fn read_line(file: &mut BufReader<File>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    file.read_until(b'\n', line).map(|read| read > 0)
}

fn trouble(path: &Path, cause: &std::io::Error) -> Error {
    Error::new(Code::Host, format!("read `{}`", path.display())).cause(cause.to_string())
}

/// A point in time: an age, or a date.
fn since(text: &str) -> std::result::Result<Timestamp, String> {
    let now = Zoned::now();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = text.parse::<civil::DateTime>() {
        let at = at.to_zoned(TimeZone::system());
        return at
            .map(|it| it.timestamp())
            .map_err(|cause| cause.to_string());
    }
    let ago: Span = text
        .parse()
        .map_err(|_| "write it as 10m, 2h, 1d or 2026-11-26T12:00".to_owned())?;
    now.checked_sub(ago.abs())
        .map(|it| it.timestamp())
        .map_err(|cause| cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_age_or_a_date() {
        let now = Timestamp::now();
        let age = |text: &str| now.duration_since(since(text).unwrap()).as_secs();
        assert!((599..=601).contains(&age("10m")), "{}", age("10m"));
        assert!((7199..=7201).contains(&age("2h")));
        assert!(
            (82_700..=90_100).contains(&age("1d")),
            "a day may have a change of the clock"
        );
        assert_eq!(
            since("2026-11-26T12:00Z").unwrap(),
            "2026-11-26T12:00:00Z".parse().unwrap()
        );
        assert!(since("2026-11-26T12:00").is_ok() && since("2026-11-26").is_ok());
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn a_log_that_is_put_aside_is_followed_into_the_new_one() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bangerd.log");
        let append = |text: &str| {
            let mut options = File::options();
            let mut file = options.create(true).append(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let mut log = Log::open(&path).unwrap();
        let mut read = |count: usize| {
            let mut lines = Vec::new();
            while lines.len() < count {
                let more = log.wait_for_more().unwrap();
                lines.extend(more.into_iter().map(|it| String::from_utf8(it).unwrap()));
            }
            lines
        };
        append("one\nhal");
        assert_eq!(read(1), ["one\n"]);
        append("f\n");
        std::fs::rename(&path, path.with_extension("log.1")).unwrap();
        append("new\n");
        assert_eq!(read(2), ["half\n", "new\n"]);
    }
}
