//! The working folder of a conversion, ^C, and what is told of it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use crate::download::{Progress, Remarks};
use crate::error::Result;
use crate::image::bundle::{InterruptSignal, Stage, StageSink};

/// The working folder, the flag that ^C sets, and the receiver of the progress.
pub(super) struct Work<'a> {
    pub(super) folder: PathBuf,
    pub(super) interruption: &'a InterruptSignal,
    progress: RefCell<StageSink<'a>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        folder: PathBuf,
        interruption: &'a InterruptSignal,
        progress: StageSink<'a>,
    ) -> Self {
        Self {
            folder,
            interruption,
            progress: RefCell::new(progress),
        }
    }

    /// Fails after ^C.
    pub(super) fn check(&self) -> Result<()> {
        self.interruption.check()
    }

    /// Does this, and tells how long it takes.
    pub(super) fn stage<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.tell(Stage::Begun(name.to_owned()));
        let began = Instant::now();
        let outcome = work()?;
        self.tell(Stage::Ended(began.elapsed().as_secs_f64()));
        Ok(outcome)
    }

    /// Tells how far something of this length is, in bytes.
    pub(super) fn meter(&self, total: u64) -> Meter<'_, 'a> {
        let remarks = Remarks::of_file(total);
        Meter {
            work: self,
            remarks,
            total,
        }
    }

    fn tell(&self, stage: Stage) {
        (self.progress.borrow_mut())(stage);
    }
}

/// The progress of one stage, in bytes.
pub(super) struct Meter<'w, 'a> {
    work: &'w Work<'a>,
    remarks: Remarks,
    total: u64,
}

impl Meter<'_, '_> {
    /// Tells that it is so far, unless it has told just before.
    pub(super) fn tell(&mut self, have: u64) {
        let total = Some(self.total);
        if let Some(line) = self.remarks.line(Progress::Bytes { have, total }) {
            self.work.tell(Stage::Remark(line));
        }
    }
}
