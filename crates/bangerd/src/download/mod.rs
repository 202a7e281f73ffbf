//! Downloads: what is asked for is named by its SHA-256, and nothing else is ever handed out.
//!
//! ```text
//!  source 1, source 2 …        tried in order
//!        │  Range, If-Range
//!        ▼
//!  <sha256>.part               grows; goes on after a cut, a restart, or from another source
//!        │  the digest is right, fsync, rename
//!        ▼
//!  <sha256>                    read once more, whole, before it is handed out again
//! ```
//!
//! All is blocking, on the caller's thread; [`Cancel`] ends it from another one.

mod address;
mod cancel;
mod digest;
mod place;
mod proxies;
mod relay;
mod transfer;
mod trouble;
mod web;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use banger_api::{Code, Error, Result};

use place::Place;
use transfer::Transfer;
use trouble::Next;
use web::Web;

pub use address::{Address, WebAddress};
pub use cancel::Cancel;
pub use digest::Digest;
pub(crate) use digest::hexadecimal;
pub use proxies::Proxies;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Download {
    /// What it is, for messages.
    pub what: String,
    /// Where it is to be had; tried in this order.
    pub sources: Vec<Address>,
    /// What it has to be.
    pub sha256: Digest,
    /// The most that is taken, in bytes.
    pub largest: u64,
}

/// What is heard of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// This source is asked.
    From(&'a Address),
    /// So much is there, of so much where the server says so; in bytes.
    Bytes {
        /// What is there.
        have: u64,
        /// The whole.
        total: Option<u64>,
    },
    /// Something else, in words.
    Remark(&'a str),
}

/// Who is told of a download.
pub type Heard<'a> = &'a mut dyn FnMut(Progress<'_>);

/// How long servers are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the beginning of an answer.
    pub answer: Duration,
    /// In this time no fewer than `least` bytes have to come.
    pub stall: Duration,
    /// See `stall`.
    pub least: u64,
    /// Before the first repetition; each further pause is twice as long.
    pub pause: Duration,
    /// How often a source is asked that gives nothing new.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            least: 4 << 10,
            pause: Duration::from_secs(1),
            tries: 5,
        }
    }
}

/// Downloads, and the folder in which they are kept.
#[derive(Debug)]
pub struct Downloads {
    folder: PathBuf,
    proxies: Proxies,
    patience: Patience,
}

impl Downloads {
    /// Downloads into `folder`, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>, proxies: Proxies) -> Self {
        Self {
            folder: folder.into(),
            proxies,
            patience: Patience::default(),
        }
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The path of a file that has the digest which is wanted: one that is there, or a new one.
    /// It stays until nobody has asked for it in 60 days.
    ///
    /// # Errors
    /// `host`, when no source has it, with what each of them said; when it cannot be written; and
    /// when it was cancelled. What has come stays for the next time.
    pub fn fetch(&self, wanted: &Download, cancel: &Cancel, heard: Heard<'_>) -> Result<PathBuf> {
        let fetched = self.fetch_or_trouble(wanted, cancel, heard);
        cancel.forgets_agents();
        fetched.map_err(|error| error.within(format!("download {}", wanted.what)))
    }

    fn fetch_or_trouble(
        &self,
        wanted: &Download,
        cancel: &Cancel,
        heard: Heard<'_>,
    ) -> Result<PathBuf> {
        let place = Place::open(&self.folder, &wanted.sha256).map_err(|it| it.error)?;
        if place.holds(cancel, heard).map_err(|it| it.error)? {
            return Ok(place.whole());
        }
        let Some(mut part) = place.part(cancel, heard).map_err(|it| it.error)? else {
            return Ok(place.whole());
        };
        let web = Web::new(&self.patience, &self.proxies, cancel);
        let mut failed = Vec::new();
        for source in &wanted.sources {
            heard(Progress::From(source));
            let mut transfer = Transfer {
                patience: &self.patience,
                wanted,
                part: &mut part,
                cancel,
                heard,
            };
            match transfer.exhaust(source, &web) {
                Ok(()) => {
                    part.put_in_place().map_err(|it| it.error)?;
                    return Ok(place.whole());
                }
                Err(trouble) if trouble.next == Next::Nothing => return Err(trouble.error),
                Err(trouble) => failed.push(trouble.error.within(format!("from {source}"))),
            }
        }
        Err(together(failed))
    }
}

/// One error of all those of the sources: the first, and the others beside it.
fn together(failed: Vec<Error>) -> Error {
    let mut failed = failed.into_iter();
    let Some(first) = failed.next() else {
        return Error::new(Code::Invalid, "no source is named");
    };
    failed.fold(first, |mut first, other| {
        first.also.push(other.to_string());
        other.hints.into_iter().fold(first, Error::hint)
    })
}
