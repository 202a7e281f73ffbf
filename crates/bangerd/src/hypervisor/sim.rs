//! A hypervisor without machines, for `bangerd --sim` and for tests: its guests are ready at once,
//! and answer like real ones.

mod console;
mod jobs;
mod streams;

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use banger_api::{Code, Error};
use banger_guest::config::{NewName, Resolvers};
use banger_guest::streams::StreamKind;
use banger_host::{Exit, Host, Look as _, Process, Sim, Spawn};

use super::{FailedWrite, Features, Hypervisor, MachineState};
use crate::error::{During, Result};
use crate::guest::{Guest, serial};
use crate::layout::{Layout, machine};
use crate::machine::{Backend, Machine};
use crate::readiness::Check;
use crate::vm::Vm;
use crate::vm::names::Instance;

/// The program of simulated machines.
const PROGRAM: &str = "/sim";

/// The `sim` driver.
#[derive(Debug)]
pub struct SimHypervisor {
    sim: Sim,
    layout: Layout,
    instance: Instance,
    jailed: bool,
    jobs: jobs::Jobs,
}

impl SimHypervisor {
    /// Runs its processes on `sim`.
    #[must_use]
    pub fn new(sim: Sim, layout: Layout, instance: Instance) -> Self {
        Self {
            sim,
            layout,
            instance,
            jailed: false,
            jobs: jobs::Jobs::default(),
        }
    }

    /// Reports its machines as jailed by the root helper, or not.
    #[must_use]
    pub fn jailed(self, jailed: bool) -> Self {
        Self { jailed, ..self }
    }

    fn process(&self, vm: &Vm) -> Result<Option<Process>> {
        let mark = self.instance.mark(vm.id, vm.index, self.programs());
        Ok(self
            .sim
            .find_processes(&mark)
            .during("find the simulated process")?
            .pop())
    }
}

impl Hypervisor for SimHypervisor {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn features(&self) -> Features {
        Features {
            most_vcpus: 255,
            power_button: true,
            jailed_by_root: self.jailed,
            reports_state: true,
        }
    }

    fn programs(&self) -> Vec<PathBuf> {
        vec![PROGRAM.into()]
    }

    fn checks(&self) -> Vec<Check> {
        vec![Check::new("hypervisor", |_| {
            banger_host::Finding::Good("`sim`: no real machines are run".to_owned())
        })]
    }

    fn boot(&self, vm: &Vm, machine: &Machine, host: &dyn Host) -> Result<Process> {
        let mut arguments = vec![machine.name.clone()];
        arguments.extend(
            machine
                .interfaces
                .iter()
                .filter_map(|it| match &it.backend {
                    Backend::Tap { name } => Some(name.clone()),
                    Backend::User { .. } => None,
                }),
        );
        let devices = machine.drives.iter().filter(|drive| drive.block);
        arguments.extend(devices.map(|drive| drive.path.clone()));
        let spawn = Spawn {
            program: PROGRAM.into(),
            arguments,
            directory: machine.directory.clone(),
            user: machine.owner,
            keep_kvm_group: false,
            input: None,
            log: machine.directory.join(machine::HYPERVISOR_LOG),
            errors: None,
            tap: None,
            scope: machine.scope.clone(),
            jailed: machine.jailed(),
        };
        let process = host.spawn(&spawn).during("start the simulated machine")?;
        let layout = self.layout.vm(vm.id);
        if machine
            .interfaces
            .iter()
            .any(|it| matches!(it.backend, Backend::User { .. }))
        {
            for name in [machine::GUEST_SOCKET, machine::OUTSIDE_SOCKET] {
                self.sim.append(&layout.in_machine(name), "");
            }
        }
        self.sim
            .append(&layout.in_machine(machine::CONSOLE_INPUT), "");
        let console = layout.in_machine(machine::CONSOLE);
        self.sim.append(
            &console,
            &format!("banger: simulated boot of {}\n", vm.name),
        );
        Ok(process)
    }

    fn guest(&self, vm: &Vm) -> Result<Box<dyn Guest>> {
        let process = self
            .process(vm)?
            .ok_or_else(|| Error::new(Code::Guest, "the simulated machine does not run"))?;
        Ok(Box::new(SimGuest {
            sim: self.sim.clone(),
            process,
            console: self.layout.vm(vm.id).in_machine(machine::CONSOLE),
        }))
    }

    fn open_stream(
        &self,
        vm: &Vm,
        kind: StreamKind,
        first: &[u8],
        _timeout: Duration,
    ) -> Result<UnixStream> {
        let process = self.process(vm)?;
        match process.filter(|it| !self.sim.is_stalled(it.pid)) {
            Some(process) => {
                let root = self.layout.vm(vm.id).in_machine("simulated-root");
                let machine = streams::SimMachine {
                    pid: process.pid,
                    root,
                    runs: Box::new({
                        let sim = self.sim.clone();
                        move || sim.is_alive(&process)
                    }),
                };
                let mut stream = streams::open(kind, machine, &self.jobs)?;
                // The buffer of a new socket has room for this.
                let sent = stream.write_all(first);
                sent.map_err(|cause| {
                    Error::new(Code::Guest, "write to the simulated guest").cause(cause.to_string())
                })?;
                Ok(stream)
            }
            None => Err(Error::new(
                Code::Guest,
                "the simulated guest does not answer",
            )),
        }
    }

    fn console_input(&self, vm: &Vm) -> Result<OwnedFd> {
        let layout = self.layout.vm(vm.id);
        let input = self.sim.read(&layout.in_machine(machine::CONSOLE_INPUT));
        match input.during("look for the simulated console's input")? {
            Some(_) => console::open(self.sim.clone(), layout.in_machine(machine::CONSOLE)),
            None => Err(serial::without(vm)),
        }
    }

    fn press_power_button(&self, vm: &Vm, _deadline: Instant) -> Result<()> {
        self.guest(vm)?.power_off(Duration::ZERO)
    }

    /// A test may set it by writing to the control socket, which is a plain file here.
    fn state(&self, vm: &Vm, _timeout: Duration) -> Result<MachineState> {
        let process = self.process(vm)?;
        if process.is_some_and(|it| self.sim.is_stalled(it.pid)) {
            return Ok(MachineState::FailedWrite(FailedWrite::NoSpace));
        }
        let status = self
            .sim
            .read(&self.layout.vm(vm.id).in_machine(machine::QMP))
            .during("read the simulated state")?;
        Ok(match status.as_deref() {
            Some(b"paused") => MachineState::Paused,
            Some(b"internal-error") => MachineState::Broken,
            _ => MachineState::Running,
        })
    }

    fn resume(&self, vm: &Vm, _timeout: Duration) -> Result<()> {
        if let Some(process) = self.process(vm)? {
            self.sim.write(process.pid);
        }
        Ok(())
    }

    fn last_words(&self, _vm: &Vm, _host: &dyn Host) -> Option<String> {
        None
    }
}

/// A guest that obeys every request.
#[derive(Debug)]
struct SimGuest {
    sim: Sim,
    process: Process,
    console: std::path::PathBuf,
}

impl Guest for SimGuest {
    fn wait_ready(
        &mut self,
        _deadline: Instant,
        alive: &dyn Fn() -> bool,
    ) -> Result<crate::guest::Ready> {
        if alive() {
            Ok(crate::guest::Ready::default())
        } else {
            Err(Error::new(Code::Guest, "the simulated machine has ended"))
        }
    }

    fn sync(&mut self, timeout: Duration) -> Result<()> {
        if self.sim.write(self.process.pid) {
            return Ok(());
        }
        // Like a real guest, it does not answer until the machine resumes or ends.
        self.sim
            .wait_any(std::slice::from_ref(&self.process), timeout);
        Err(Error::new(Code::Guest, "the simulated machine is paused"))
    }

    fn power_off(&mut self, _timeout: Duration) -> Result<()> {
        self.sim.append(&self.console, "banger: end poweroff\n");
        self.sim.end_process(self.process.pid, Exit::Status(0));
        Ok(())
    }

    fn set_clock(&mut self, _unix: Duration) -> Result<()> {
        Ok(())
    }

    fn set_resolvers(&mut self, _resolvers: &Resolvers) -> Result<()> {
        Ok(())
    }

    /// A test sees the new name on the console.
    fn rename(&mut self, name: &NewName) -> Result<()> {
        if self.sim.is_stalled(self.process.pid) {
            return Err(Error::new(Code::Guest, "the simulated machine is paused"));
        }
        let line = format!("banger: simulated host name {}\n", name.hostname);
        self.sim.append(&self.console, &line);
        Ok(())
    }
}
