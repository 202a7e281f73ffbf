//! ^C while the daemon makes an image for this process.
//!
//! ```text
//! ^C ─► kill the VM of the build, until the daemon has given it up ─► delete an image that was complete
//! ```
//!
//! The daemon goes on without its client, so this process stays until nothing is left.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::str::FromStr as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use banger_api::client::Client;
use banger_api::{
    BuildImage, ByteCount, Code, Error, ImageView, ImportImage, KillVm, Progress, VmRef,
};

use crate::download::Progress::Bytes;
use crate::download::Remarks;
use crate::error::Result;
use crate::image::bundle::{InterruptSignal, Stage};

/// The pause between two attempts to end a build, whose VM may not exist yet.
const AGAIN: Duration = Duration::from_millis(500);

/// The daemon as the maker of one image.
#[derive(Debug)]
pub(super) struct Maker<'a> {
    pub(super) client: &'a Client,
    /// ^C since this process began.
    pub(super) interruption: &'a InterruptSignal,
    /// Whether nothing is told.
    pub(super) is_silent: bool,
}

/// The end of the wait for ^C.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Interruption,
    End,
}

impl Maker<'_> {
    /// Has the daemon import a file, and shows each step.
    pub(super) fn import(
        &self,
        request: &ImportImage,
        show: &mut dyn FnMut(Stage),
    ) -> Result<ImageView> {
        self.interruption.check()?;
        let mut relay = StageRelay::new(show);
        let imported = self.client.import_image(request, |step| relay.pass(step));
        match self.interruption.check() {
            Ok(()) => imported,
            Err(interrupted) => Err(self.undo(imported, interrupted)),
        }
    }

    /// Has the daemon build, and shows each step.
    pub(super) fn build(
        &self,
        mut request: BuildImage,
        show: &mut dyn FnMut(Stage),
    ) -> Result<ImageView> {
        let number = RandomState::new().hash_one(std::process::id()) >> 32;
        let name = format!("build-{number:08x}");
        let vm = VmRef::from_str(&name)
            .map_err(|cause| Error::new(Code::Internal, cause.to_string()))?;
        request.vm = Some(name);
        let (sender, events) = channel();
        let end = sender.clone();
        // The watch outlives the build, and nobody listens to it then.
        let watch = InterruptSignal::watch(move || drop(sender.send(Event::Interruption)))?;
        self.interruption.check()?;
        let built = std::thread::scope(|scope| {
            scope.spawn(move || self.end_on_interruption(&vm, &events));
            let mut relay = StageRelay::new(show);
            let built = self.client.build_image(&request, |step| relay.pass(step));
            // The thread has gone when there is nobody to hear it.
            let _ = end.send(Event::End);
            built
        });
        let Err(interrupted) = self.interruption.check().and(watch.check()) else {
            return built;
        };
        let kept = built.as_ref().err().filter(|_| request.keep_on_failure);
        let hints = kept.map(|it| it.hints.clone()).unwrap_or_default();
        Err(hints
            .into_iter()
            .fold(self.undo(built, interrupted), Error::hint))
    }

    /// After ^C, kills the VM of a build until the build has ended.
    fn end_on_interruption(&self, vm: &VmRef, events: &Receiver<Event>) {
        if !matches!(events.recv(), Ok(Event::Interruption)) {
            return;
        }
        if !self.is_silent {
            let note = "interrupted: the VM of the build is removed …";
            let _ = writeln!(std::io::stderr(), "{note}");
        }
        loop {
            // The other client is busy. A VM that does not exist yet is killed later.
            let killed = Client::new(self.client.socket())
                .and_then(|client| client.kill(vm, &KillVm::default(), |_| {}));
            drop(killed);
            if events.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Deletes an image that was complete before ^C was noticed; returns the error.
    fn undo(&self, made: Result<ImageView>, mut interrupted: Error) -> Error {
        match made {
            Err(error) => interrupted.also.extend(error.also),
            Ok(image) => {
                if let Err(error) = self.client.delete_image(&image.name, |_| {}) {
                    let name = &image.name;
                    interrupted.also.push(error.to_string());
                    interrupted = interrupted.hint(format!("banger image delete {name}"));
                }
            }
        }
        interrupted
    }
}

/// The daemon's steps, as the stages of this program.
struct StageRelay<'s> {
    show: &'s mut dyn FnMut(Stage),
    /// The progress of the step, if it copies.
    remarks: Option<Remarks>,
}

impl<'s> StageRelay<'s> {
    fn new(show: &'s mut dyn FnMut(Stage)) -> Self {
        Self {
            show,
            remarks: None,
        }
    }

    /// Passes on a step of a build, unless it is one of the many short ones of every start.
    fn pass(&mut self, step: Progress) {
        let is_brief = ["image", "check", "plan", "boot"].contains(&&*step.step)
            || ["create ", "prepare "]
                .iter()
                .any(|it| step.step.starts_with(it));
        if is_brief {
            return;
        }
        if let Some(ByteCount { done, whole }) = step.bytes {
            let remarks = self.remarks.get_or_insert_with(|| Remarks::of_file(whole));
            let (have, total) = (done, Some(whole));
            if let Some(line) = remarks.line(Bytes { have, total }) {
                (self.show)(Stage::Remark(line));
            }
            return;
        }
        self.remarks = None;
        (self.show)(match step.seconds {
            None => Stage::Begun(step.step),
            Some(seconds) => Stage::Ended(seconds),
        });
    }
}
