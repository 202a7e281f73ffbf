//! `image build`: creates a VM from a base, runs scripts in it, and turns its system disk into an
//! image.
//!
//! ```text
//! create ► start ► prepare ► the request's steps ► tidy ► stop ► judge, digest, name ► delete the VM
//!   └──────────────── any error: the VM is deleted, and there is no image ─────────────────┘
//! ```
//!
//! The build holds the VM, so no other verb changes it; `vm kill` ends it, and with it the build.
//! Its record marks it as a build's, so the next daemon removes it after a crash.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banger_api::{
    BuildImage, BuildStep, Code, CreateVm, Error, ImageName, ImageView, Mib, StartVm, Verb,
    VmSpecPatch, harmless, limits,
};
use banger_host::{FileOp, Op};

use super::create::random;
use super::hold::Hold;
use super::images::{image_name, plain_path};
use super::operations::OpenOperation;
use super::{Engine, ProgressSink, copying_step, step, stop};
use crate::error::{During, Result};
use crate::guest::shell::Script;
use crate::image::catalog::Entry;
use crate::image::import::Import;
use crate::image::{PREPARE, TIDY};
use crate::layout::machine;

/// The number of logs that are kept.
const KEPT_LOGS: usize = 20;

/// The maximum number of steps, and the maximum length of a script in bytes.
const MOST_STEPS: usize = 1000;
const LONGEST_SCRIPT: usize = 100_000;

/// The default and the maximum time limit of a step, in seconds.
const PATIENCE: u64 = 3600;
const LONGEST_PATIENCE: u64 = 86_400;

/// The time limit of the clean stop, in seconds; long, for software emulation.
const STOP: u64 = 300;

/// The default size of the root file system, unless the base is larger.
const USUAL_SIZE: Mib = Mib(4096);

/// The size of the work disk where it is not used.
const WORK_DISK: Mib = Mib(1024);

/// A validated request.
struct Build<'r> {
    name: ImageName,
    base: Entry,
    size: Mib,
    request: &'r BuildImage,
    log: PathBuf,
}

impl Engine {
    /// Builds an image from another one, in a temporary VM.
    ///
    /// # Errors
    /// `invalid` for an invalid name, step or size, `conflict` if the name is taken, `not-found`
    /// for the base, `guest` if a step fails. Afterwards only the log remains, and the VM if the
    /// request keeps it on failure.
    pub fn build_image(
        &self,
        request: &BuildImage,
        progress: ProgressSink<'_>,
    ) -> Result<ImageView> {
        self.operate(Verb::Build, None, progress, |operation, progress| {
            let name = image_name(&request.name)?;
            let doing = || format!("build the image `{name}`");
            let build = self.admit_build(name.clone(), request).during(doing())?;
            self.build(&build, operation, progress).during(doing())?;
            self.image(&name)
        })
    }

    fn admit_build<'r>(&self, name: ImageName, request: &'r BuildImage) -> Result<Build<'r>> {
        admit_steps(&request.steps)?;
        self.parts.catalog.admit_name(&name, self.host())?;
        let base = match &request.base {
            Some(base) => image_name(base)?,
            None => image_name(ImageName::DEFAULT)?,
        };
        let base = self.parts.catalog.get(&base, self.host())?;
        let least = if request.of_work_disk {
            Mib(0)
        } else {
            Mib(base.size.div_ceil(1 << 20))
        };
        let size = request.size.unwrap_or(USUAL_SIZE.max(least));
        limits::disk(size).map_err(|what| Error::new(Code::Invalid, what))?;
        if size < least {
            return Err(Error::new(
                Code::Invalid,
                format!(
                    "a size of {size} is too small: the base `{}` takes {least}",
                    base.name
                ),
            ));
        }
        let file = format!("{name}.{}.log", self.now().as_second());
        let log = self.parts.layout.image_builds().join(file);
        Ok(Build {
            name,
            base,
            size,
            request,
            log,
        })
    }

    fn build(
        &self,
        build: &Build<'_>,
        operation: &OpenOperation<'_>,
        progress: ProgressSink<'_>,
    ) -> Result<()> {
        self.begin_log(&build.log)?;
        let number = u32::from_le_bytes(random()?);
        let (system, work) = if build.request.of_work_disk {
            let system = Mib(build.base.size.div_ceil(1 << 20));
            (USUAL_SIZE.max(system), build.size)
        } else {
            (build.size, WORK_DISK)
        };
        let wanted = CreateVm {
            name: Some((build.request.vm.clone()).unwrap_or(format!("build-{number:08x}"))),
            image: Some(build.base.name.to_string()),
            spec: VmSpecPatch {
                disk_size: Some(work),
                system_disk_size: Some(system),
                ..VmSpecPatch::of_a_build()
            },
            no_start: false,
            temporary: false,
        };
        let hold = self.make(&wanted, Some(&build.name), operation, progress)?;
        let built = self.build_in(build, &hold, progress);
        let Err(error) = built else {
            return match self.remove(&hold) {
                Ok(()) => Ok(()),
                // The next daemon removes it; the image is complete.
                Err(error) => {
                    tracing::warn!(%error, "the VM of a build is left");
                    Ok(())
                }
            };
        };
        let error = error.hint(format!("see the whole log: less {}", build.log.display()));
        Err(self.give_up(build, &hold, error))
    }

    /// Removes the VM of a failed build, or turns it into an ordinary one.
    fn give_up(&self, build: &Build<'_>, hold: &Hold, mut error: Error) -> Error {
        let left = if build.request.keep_on_failure {
            let mut vm = hold.vm();
            vm.builds = None;
            let name = vm.name.clone();
            error = error.hint(format!(
                "its VM is kept: banger vm ssh {name}   (and then: banger vm delete --force {name})"
            ));
            self.save_or_keep(hold.slot(), &vm)
        } else {
            self.remove(hold)
        };
        error.also.extend(left.err().map(|left| left.to_string()));
        self.prune();
        error
    }

    /// Starts the VM, runs the steps in it, stops it, and imports its disk.
    fn build_in(&self, build: &Build<'_>, hold: &Hold, progress: ProgressSink<'_>) -> Result<()> {
        self.start_held(hold, &StartVm::default(), progress)?;
        let own = |name: &str, script: &str| BuildStep {
            name: name.to_owned(),
            script: script.to_owned(),
            ..BuildStep::default()
        };
        self.run_step(build, hold, &own("prepare", PREPARE), progress)?;
        for wanted in &build.request.steps {
            self.run_step(build, hold, wanted, progress)?;
        }
        let disk = if build.request.of_work_disk {
            machine::WORK_DISK
        } else {
            self.run_step(build, hold, &own("tidy up", TIDY), progress)?;
            machine::ROOT_DISK
        };
        let deadline = stop::deadline_in(STOP)?;
        let (synced, by) = self.stop_held(hold, deadline, "`image build`", progress)?;
        if !synced || !matches!(&*by, "agent" | "power-button") {
            return Err(Error::new(
                Code::Guest,
                format!("the VM did not shut down cleanly within {STOP} s"),
            ));
        }
        let vm = hold.vm();
        let path = self.parts.layout.vm(vm.id).in_machine(disk);
        let origin = match &build.request.origin {
            Some(origin) => harmless::visible(origin).chars().take(200).collect(),
            None => format!("built from {}", build.base.name),
        };
        let wanted = Import {
            name: build.name.clone(),
            path,
            origin,
            at: self.now(),
            // The VM goes with the build. Another user's file is no image.
            takes: vm.owner.is_none(),
            // The VM's record keeps it from the next prune.
            kernel: Some(vm.images.kernel),
        };
        let was_killed = || hold.slot().was_killed();
        copying_step(
            progress,
            "make the image",
            self.host(),
            &was_killed,
            |host| self.parts.catalog.import(&wanted, host),
        )
    }

    fn run_step(
        &self,
        build: &Build<'_>,
        hold: &Hold,
        wanted: &BuildStep,
        progress: ProgressSink<'_>,
    ) -> Result<()> {
        let name = excerpt(&wanted.name);
        let doing = || format!("step `{name}`");
        if hold.slot().was_killed() {
            return Err(Error::new(Code::Conflict, "its VM was killed"));
        }
        let seconds = wanted.timeout_seconds.unwrap_or(PATIENCE);
        let script = Script {
            name: &name,
            text: &wanted.script,
            input: wanted.input.as_deref().map(Path::new),
            patience: Duration::from_secs(seconds),
        };
        step(progress, &name, || {
            let vm = self.view(&hold.vm());
            self.parts.shell.run(&vm, script, &build.log)
        })
        .during(doing())
    }

    /// Creates the log, and removes the oldest ones.
    fn begin_log(&self, log: &Path) -> Result<()> {
        let folder = self.parts.layout.image_builds();
        let change = |op: FileOp| self.host().change(&Op::File(op)).map(drop);
        change(FileOp::MakeDirectory {
            path: folder.clone(),
            mode: 0o700,
            owner: None,
        })
        .during("make the folder of the logs of builds")?;
        let mut logs = self.host().list(&folder).during("list the logs")?;
        let number = |file: &String| {
            let number = file.strip_suffix(".log")?.rsplit_once('.')?.1;
            number.parse::<i64>().ok()
        };
        logs.retain(|file| number(file).is_some());
        logs.sort_by_key(|file| std::cmp::Reverse(number(file)));
        for old in logs.iter().skip(KEPT_LOGS - 1) {
            let path = folder.join(old);
            change(FileOp::RemoveFile { path }).during("remove an old log")?;
        }
        change(FileOp::WriteFile {
            path: log.to_owned(),
            contents: Vec::new(),
            mode: 0o600,
            owner: None,
        })
        .during("begin the log")
    }
}

fn admit_steps(steps: &[BuildStep]) -> Result<()> {
    let invalid = |what: String| Err(Error::new(Code::Invalid, what));
    if steps.len() > MOST_STEPS {
        return invalid(format!("{} steps are more than {MOST_STEPS}", steps.len()));
    }
    for wanted in steps {
        let name = excerpt(&wanted.name);
        let length = wanted.script.len();
        if length > LONGEST_SCRIPT {
            return invalid(format!(
                "the script of the step `{name}` is longer than {LONGEST_SCRIPT} bytes: {length}"
            ));
        }
        if wanted.script.contains('\0') {
            return invalid(format!(
                "the script of the step `{name}` contains a NUL byte"
            ));
        }
        let seconds = wanted.timeout_seconds.unwrap_or(PATIENCE);
        if !(1..=LONGEST_PATIENCE).contains(&seconds) {
            return invalid(format!(
                "{seconds} s for the step `{name}` is out of range: 1 to {LONGEST_PATIENCE}"
            ));
        }
        if let Some(input) = &wanted.input {
            plain_path(input).during(format!("step `{name}`"))?;
        }
    }
    Ok(())
}

/// A step's name, escaped and cut.
fn excerpt(name: &str) -> String {
    harmless::visible(name).chars().take(80).collect()
}
