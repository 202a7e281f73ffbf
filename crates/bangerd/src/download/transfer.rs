//! What comes from one source, into one part.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use super::address::{Address, WebAddress};
use super::place::Part;
use super::trouble::{Next, Trouble, does_not_fit};
use super::web::Web;
use super::{Cancel, Download, Heard, Patience, Progress};

/// How much is read at once, in bytes.
const PIECE: usize = 1 << 16;

/// The longest pause before the same source is asked once more.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Trouble>;

/// A download, while one source is asked for it.
pub(super) struct Transfer<'a, 'h> {
    pub(super) patience: &'a Patience,
    pub(super) wanted: &'a Download,
    pub(super) part: &'a mut Part,
    pub(super) cancel: &'a Cancel,
    pub(super) heard: Heard<'h>,
}

impl Transfer<'_, '_> {
    /// Asks a source until the whole is there, or there is no hope.
    pub(super) fn exhaust(&mut self, source: &Address, web: &Web<'_>) -> Result<()> {
        let (mut tries, mut furthest, mut is_anew) = (0, self.part.size(), false);
        loop {
            let attempt = match source {
                Address::File(path) => self.copy(path),
                Address::Web(address) => self.ask(address, web),
            };
            let wanted = &self.wanted.sha256;
            let outcome = attempt.and_then(|()| self.part.check(wanted, self.cancel));
            let Err(trouble) = outcome else {
                return Ok(());
            };
            if self.cancel.is_cancelled() {
                return Err(Trouble::cancelled());
            }
            match trouble.next {
                Next::Again(wish) => {
                    if self.part.size() > furthest {
                        (tries, furthest) = (0, self.part.size());
                    }
                    tries += 1;
                    if tries >= self.patience.tries {
                        return Err(trouble);
                    }
                    self.pause(tries, wish, &trouble)?;
                }
                Next::Anew if !is_anew => {
                    is_anew = true;
                    self.part.restart()?;
                    let remark = "from the beginning: what was there does not fit";
                    (self.heard)(Progress::Remark(remark));
                }
                Next::Anew => return Err(Trouble::new(Next::Elsewhere, trouble.error)),
                Next::Elsewhere | Next::Nothing => return Err(trouble),
            }
        }
    }

    /// Waits before the next attempt; no less than the server wishes.
    fn pause(&mut self, tries: u32, wish: Duration, trouble: &Trouble) -> Result<()> {
        let pause = self.patience.pause * 2u32.saturating_pow(tries - 1);
        let pause = pause.min(LONGEST_PAUSE).max(wish);
        let remark = format!("{}; trying again in {pause:.0?}", trouble.error);
        (self.heard)(Progress::Remark(&remark));
        if self.cancel.wait(pause) {
            return Err(Trouble::cancelled());
        }
        Ok(())
    }

    fn copy(&mut self, path: &Path) -> Result<()> {
        let unreadable = |cause: std::io::Error| Trouble::elsewhere(cause.to_string());
        // Opening a FIFO would wait for a writer, so the kind comes first.
        let found = path.metadata().map_err(unreadable)?;
        if !found.is_file() {
            return Err(Trouble::elsewhere("it is no regular file"));
        }
        let mut file = File::open(path).map_err(unreadable)?;
        self.part.restart()?;
        self.pour(&mut file, Some(found.len()))
    }

    fn ask(&mut self, address: &WebAddress, web: &Web<'_>) -> Result<()> {
        let source = address.to_string();
        let wanted = self.part.wanted(&source);
        let mut answer = web.get(address, &wanted)?;
        if answer.from == 0 {
            self.part.restart()?;
        } else {
            let versions = wanted.version.as_ref().zip(answer.version.as_ref());
            let is_other = versions.is_some_and(|(ours, theirs)| ours != theirs);
            if is_other || answer.from != self.part.size() {
                return Err(does_not_fit());
            }
        }
        self.part.comes_from(&source, answer.version.take())?;
        self.pour(&mut answer.body, answer.total)
    }

    /// Reads to the end, or to the first thing that is wrong.
    fn pour(&mut self, from: &mut dyn Read, total: Option<u64>) -> Result<()> {
        let largest = self.wanted.largest;
        let too_large = || {
            let message = format!("it has more than the {largest} bytes that are taken of it");
            Trouble::elsewhere(message)
        };
        if total.is_some_and(|total| total > largest) {
            return Err(too_large());
        }
        let mut piece = vec![0; PIECE];
        let mut pace = Pace::new(self.patience);
        loop {
            let count = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                Err(cause) => return Err(Trouble::of_connection(&cause)),
            };
            if self.cancel.is_cancelled() {
                return Err(Trouble::cancelled());
            }
            if self.part.size() + count as u64 > largest {
                self.part.restart()?;
                return Err(too_large());
            }
            self.part.append(&piece[..count])?;
            let have = self.part.size();
            (self.heard)(Progress::Bytes { have, total });
            pace.takes(count)?;
        }
        match (self.part.size(), total) {
            (have, Some(total)) if have != total => Err(Trouble::again(format!(
                "it ends after {have} of {total} bytes"
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether enough comes in time. A read that waits has a limit of its own.
struct Pace<'a> {
    patience: &'a Patience,
    began: Instant,
    came: u64,
}

impl<'a> Pace<'a> {
    fn new(patience: &'a Patience) -> Self {
        let (began, came) = (Instant::now(), 0);
        Self {
            patience,
            began,
            came,
        }
    }

    fn takes(&mut self, count: usize) -> Result<()> {
        self.came += count as u64;
        if self.began.elapsed() < self.patience.stall {
            return Ok(());
        }
        if self.came < self.patience.least {
            return Err(Trouble::again(format!(
                "only {} bytes have come in {:.0?}",
                self.came, self.patience.stall
            )));
        }
        *self = Self::new(self.patience);
        Ok(())
    }
}
