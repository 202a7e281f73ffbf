//! A boot: start Firecracker, wait for its socket, configure the machine piece by piece, start it.
//!
//! ```text
//! clean up ► spawn ► socket ► version ► machine ► … ► InstanceStart
//!                │ exit, silence or refusal at any step
//!                ▼
//!              kill, and report the reason
//! ```

use std::path::Path;
use std::time::{Duration, Instant};

use banger_api::{Code, Error};
use banger_host::{Exit, FileOp, Host, Op, Process, Signal, Spawn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify;

use super::activity::Activity;
use super::client::{Client, Failure};
use super::jail::Jail;
use super::machine::link_name;
use super::requests::Request;
use super::{activity, exit, log, program};
use crate::error::{During, Result};
use crate::guest::channel::connect;
use crate::layout::{VmLayout, machine};
use crate::machine::Machine;

/// How long a killed Firecracker may take to end; the engine's teardown waits longer.
const KILLED: Duration = Duration::from_millis(500);

/// The interval at which Firecracker's process is checked.
const GLANCE: Duration = Duration::from_millis(20);

/// The context of a boot, besides the machine.
pub(super) struct Boot<'a> {
    pub(super) program: &'a Path,
    /// The daemon's jail, if any.
    pub(super) jail: Option<&'a Jail>,
    /// The folder of its sockets.
    pub(super) sockets: &'a Path,
    pub(super) layout: &'a VmLayout,
    pub(super) host: &'a dyn Host,
    /// How long an idle Firecracker may take for one step.
    pub(super) patience: Duration,
}

impl Boot<'_> {
    /// Boots the machine. After an error nothing of it runs.
    pub(super) fn run(&self, machine: &Machine, requests: &[Request]) -> Result<Process> {
        self.clear()?;
        match self.jail {
            Some(jail) => jail.make(machine, self.layout, self.host)?,
            None => self.link_devices(machine)?,
        }
        let watch = watch(self.sockets);
        let process = self
            .host
            .spawn(&self.spawn(machine)?)
            .during("start Firecracker")?;
        match self.converse(&process, watch.as_ref(), requests) {
            Ok(()) => Ok(process),
            Err(error) => Err(self.end(&process, error)),
        }
    }

    /// Removes an earlier run's files: Firecracker exits if its socket exists, and overwrites its
    /// other files from the beginning.
    fn clear(&self) -> Result<()> {
        for name in [
            machine::FIRECRACKER_SOCKET,
            machine::AGENT,
            machine::HYPERVISOR_LOG,
            machine::HYPERVISOR_ERRORS,
            machine::METRICS,
        ] {
            let path = self.layout.in_machine(name);
            self.host
                .change(&Op::File(FileOp::RemoveFile { path }))
                .during(format!("remove the machine's old `{name}`"))?;
        }
        Ok(())
    }

    /// Links block devices under the names that the requests use.
    fn link_devices(&self, machine: &Machine) -> Result<()> {
        for drive in &machine.drives {
            if let Some(name) = link_name(drive, &machine.shape) {
                let op = Op::File(FileOp::MakeLink {
                    path: self.layout.in_machine(&name),
                    target: drive.path.clone().into(),
                });
                self.host
                    .change(&op)
                    .during(format!("link the disk `{name}`"))?;
            }
        }
        Ok(())
    }

    /// Its standard input and output are only the guest's console. Its own messages go to its log
    /// from the first line on.
    fn spawn(&self, machine: &Machine) -> Result<Spawn> {
        let arguments = [
            "--api-sock",
            machine::FIRECRACKER_SOCKET,
            "--log-path",
            machine::HYPERVISOR_LOG,
            "--level",
            "Info",
            "--show-level",
            "--metrics-path",
            machine::METRICS,
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        let (mut program, mut user) = (self.program, machine.owner);
        if let Some(jail) = self.jail {
            arguments = jail.arguments(machine, &arguments)?;
            // The jailer itself becomes the VM's user, once it has entered the jail.
            (program, user) = (jail.jailer(), None);
        } else {
            arguments.extend(["--id".to_owned(), machine.name.clone()]);
        }
        Ok(Spawn {
            program: program.to_owned(),
            arguments,
            directory: machine.directory.clone(),
            user,
            keep_kvm_group: true,
            input: Some(self.layout.in_machine(machine::CONSOLE_INPUT)),
            log: self.layout.in_machine(&machine.console),
            errors: Some(self.layout.in_machine(machine::HYPERVISOR_ERRORS)),
            tap: None,
            scope: machine.scope.clone(),
            jailed: machine.jailed(),
        })
    }

    fn converse(
        &self,
        process: &Process,
        watch: Option<&OwnedFd>,
        requests: &[Request],
    ) -> Result<()> {
        let socket = self.sockets.join(machine::FIRECRACKER_SOCKET);
        self.wait_for(&socket, process, watch)?;
        let client = Client::new(&socket)
            .map_err(|cause| Error::new(Code::Host, "start the client").cause(cause.to_string()))?;
        let answer = self.ask(&client, process, &Request::Version)?;
        require_version(&answer)?;
        for request in requests {
            self.ask(&client, process, request)?;
        }
        Ok(())
    }

    fn wait_for(&self, socket: &Path, process: &Process, watch: Option<&OwnedFd>) -> Result<()> {
        let mut activity = Activity::of(process, self.patience, self.host);
        let began = Instant::now();
        // A connection is the test, because the socket's name exists before Firecracker listens.
        while connect(socket).is_err() {
            if !self.host.is_alive(process) {
                return Err(Error::new(Code::Host, "it ended before it listened"));
            }
            if activity.hangs() {
                let seconds = began.elapsed().as_secs_f64();
                let text = format!("it does not listen on its socket, within {seconds:.1} s");
                return Err(busy(Error::new(Code::Host, text)));
            }
            wait(watch, GLANCE);
        }
        Ok(())
    }

    fn ask(&self, client: &Client, process: &Process, request: &Request) -> Result<Vec<u8>> {
        let about = request.about();
        let mut activity = Activity::of(process, self.patience, self.host);
        client
            .send(request, activity::GLANCE, || activity.hangs())
            .map(|body| body.to_vec())
            .map_err(|failure| match &failure {
                Failure::Refused(fault) => {
                    Error::new(Code::Host, format!("it refuses {about}")).cause(fault.clone())
                }
                Failure::Silent(_) => {
                    let text = format!("it does not answer about {about}");
                    busy(Error::new(Code::Host, text).cause(failure.to_string()))
                }
                Failure::Broken(_) => Error::new(Code::Host, format!("it ended during {about}"))
                    .cause(failure.to_string()),
            })
    }

    /// Kills Firecracker if it runs, and adds to the error what is known about its end.
    fn end(&self, process: &Process, error: Error) -> Error {
        let before = |wait| {
            self.host
                .wait_any(std::slice::from_ref(process), wait)
                .is_empty()
        };
        // The broken connection may be due to its end, which becomes visible a moment later.
        let by_itself = !before(GLANCE);
        let mut error = error.within("boot the machine in Firecracker");
        if by_itself {
            let known = [
                self.host.exit_of(process).map(words_of_end),
                log::last_words(self.layout, self.host),
            ];
            return known.into_iter().flatten().fold(error, Error::cause);
        }
        let killed = self.host.signal(process, Signal::Kill);
        if let Err(cause) = killed {
            error.also.push(format!("kill Firecracker: {cause}"));
        }
        before(KILLED);
        error
    }
}

/// The exit in words.
fn words_of_end(exit: Exit) -> String {
    match exit {
        Exit::Status(status) => {
            let words = exit::words(status).map(|words| format!(": {words}"));
            let words = words.unwrap_or_default();
            format!("Firecracker exited with status {status}{words}")
        }
        Exit::Signal(number) => format!("Firecracker was ended by signal {number}"),
    }
}

fn busy(error: Error) -> Error {
    error.hint("see whether the host is overloaded: uptime")
}

fn require_version(answer: &[u8]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Answer {
        firecracker_version: String,
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|cause| {
        Error::new(Code::Host, "it does not say its version").cause(cause.to_string())
    })?;
    let found = &answer.firecracker_version;
    if program::version(found).is_some_and(|version| version >= program::LEAST) {
        return Ok(());
    }
    let (major, minor, patch) = program::LEAST;
    let text = format!(
        "it is {found}, and {major}.{minor}.{patch} is needed: {}",
        program::WHY
    );
    Err(Error::new(Code::NotReady, text).hint("banger doctor"))
}

/// Watches the folder for new entries.
fn watch(folder: &Path) -> Option<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK);
    let watch = watch.ok()?;
    inotify::add_watch(&watch, folder, inotify::WatchFlags::CREATE).ok()?;
    Some(watch)
}

/// Waits for a new entry or the time limit.
fn wait(watch: Option<&OwnedFd>, time: Duration) {
    let time = Timespec::try_from(time).ok();
    let Some(watch) = watch else {
        let _ = poll(&mut [], time.as_ref());
        return;
    };
    let _ = poll(&mut [PollFd::new(watch, PollFlags::IN)], time.as_ref());
    // The events themselves do not matter, nor does a failed read.
    let _ = rustix::io::read(watch, &mut [0; 4096]);
}
