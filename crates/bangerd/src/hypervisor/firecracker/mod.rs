//! Firecracker, over its API: <https://github.com/firecracker-microvm/firecracker>.
//!
//! It runs in the machine's folder with relative paths, in a session of its own, as the VM's own
//! user if the daemon is root. Its devices are virtio over MMIO, which the guest finds by ACPI, and
//! the channel to the guest is its vsock.
//!
//! A guest's `poweroff` does not end Firecracker. A reset does, which the guest's last program
//! requests, or its kernel after a panic (`reboot=k`).

mod activity;
mod boot;
mod client;
mod exit;
mod jail;
mod log;
mod machine;
mod program;
mod requests;
#[cfg(test)]
mod swagger;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banger_api::{Code, Error, NetworkKind};
use banger_guest::streams::StreamKind;
use banger_host::{Host, JAILED_FOLDER, Process, ROOT_PROGRAMS};

use super::{Features, Hypervisor};
use crate::error::Result;
use crate::guest::channel::Channel;
use crate::guest::channel::streams::open_vsock;
use crate::guest::{Guest, serial};
use crate::layout::{self, Layout};
use crate::machine::Machine;
use crate::readiness::Check;
use crate::vm::Vm;
use crate::vm::names::Instance;
use boot::Boot;
use client::Client;
use jail::Jail;
use requests::{Action, Request};

pub use program::find;

/// How long an idle Firecracker may leave a request unanswered, so that a hang is reported within
/// five seconds.
const PATIENCE: Duration = Duration::from_millis(4000);

/// The process that runs the jailer.
#[derive(Debug)]
enum JailMode {
    /// The daemon, which is root.
    Daemon(Jail, Instance),
    /// The root helper, with programs of its own. The machine's folder stays in place and has
    /// another path in the jail.
    Root(Jail),
}

/// The `firecracker` driver.
#[derive(Debug)]
pub struct Firecracker {
    layout: Layout,
    program: PathBuf,
    network: NetworkKind,
    /// The jail, if any; a jailed driver has a name of its own.
    jail: Option<JailMode>,
    patience: Duration,
}

impl Firecracker {
    /// Runs this program; `network` is the kind of network of new starts.
    #[must_use]
    pub fn new(layout: Layout, program: PathBuf, network: NetworkKind) -> Self {
        Self {
            layout,
            program,
            network,
            jail: None,
            patience: PATIENCE,
        }
    }

    /// A driver that runs its machines in jails, under a name of its own, so that a VM is found
    /// where it was started even if the configuration has changed since.
    #[must_use]
    pub fn jailed(self, instance: Instance) -> Self {
        let jail = Jail::new(&self.program, self.layout.jails());
        Self {
            jail: Some(JailMode::Daemon(jail, instance)),
            ..self
        }
    }

    /// A driver whose machines the root helper runs in jails, for an ordinary user's daemon. It
    /// uses the root-owned Firecracker, whatever the configuration names.
    #[must_use]
    pub fn jailed_by_root(self) -> Self {
        let program = Path::new(ROOT_PROGRAMS).join("firecracker");
        let jail = Jail::new(&program, self.layout.vms());
        Self {
            program,
            jail: Some(JailMode::Root(jail)),
            ..self
        }
    }

    /// The folder of the machine's sockets.
    fn sockets(&self, vm: &Vm) -> PathBuf {
        match &self.jail {
            Some(JailMode::Daemon(jail, instance)) => jail.root(&instance.process(vm.id)),
            Some(JailMode::Root(_)) | None => self.layout.vm(vm.id).machine(),
        }
    }

    /// Sets the time limit of each step of a boot.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

impl Hypervisor for Firecracker {
    fn name(&self) -> &'static str {
        match self.jail {
            Some(_) => "firecracker-jailed",
            None => "firecracker",
        }
    }

    fn features(&self) -> Features {
        Features {
            most_vcpus: machine::MOST_CPUS,
            power_button: true,
            jailed_by_root: matches!(self.jail, Some(JailMode::Root(_))),
            reports_state: false,
        }
    }

    fn programs(&self) -> Vec<PathBuf> {
        let jailer = self.jail.as_ref().map(|jailing| match jailing {
            JailMode::Daemon(jail, _) | JailMode::Root(jail) => jail.jailer().to_owned(),
        });
        [self.program.clone()].into_iter().chain(jailer).collect()
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = program::checks(&self.program, self.network);
        checks.extend(self.jail.iter().map(|jailing| match jailing {
            JailMode::Daemon(jail, _) | JailMode::Root(jail) => jail.check(),
        }));
        checks
    }

    fn accepts(&self, machine: &Machine) -> Result<()> {
        machine::requests(machine, Path::new("")).map(drop)
    }

    fn boot(&self, vm: &Vm, machine: &Machine, host: &dyn Host) -> Result<Process> {
        let folder = match &self.jail {
            Some(JailMode::Root(_)) => JAILED_FOLDER,
            Some(JailMode::Daemon(..)) | None => "",
        };
        let requests = machine::requests(machine, Path::new(folder))?;
        let jail = match &self.jail {
            Some(JailMode::Daemon(jail, _)) => Some(jail),
            Some(JailMode::Root(_)) | None => None,
        };
        let boot = Boot {
            program: &self.program,
            jail,
            sockets: &self.sockets(vm),
            layout: &self.layout.vm(vm.id),
            host,
            patience: self.patience,
        };
        boot.run(machine, &requests)
    }

    fn guest(&self, vm: &Vm) -> Result<Box<dyn Guest>> {
        let socket = self.sockets(vm).join(layout::machine::AGENT);
        Ok(Box::new(Channel::vsock(socket)))
    }

    fn open_stream(
        &self,
        vm: &Vm,
        kind: StreamKind,
        first: &[u8],
        timeout: Duration,
    ) -> Result<UnixStream> {
        open_vsock(
            &self.sockets(vm).join(layout::machine::AGENT),
            kind,
            first,
            timeout,
        )
    }

    fn console_input(&self, vm: &Vm) -> Result<OwnedFd> {
        serial::open_input(vm, &self.layout)
    }

    fn press_power_button(&self, vm: &Vm, deadline: Instant) -> Result<()> {
        let socket = self.sockets(vm).join(layout::machine::FIRECRACKER_SOCKET);
        let left = deadline
            .saturating_duration_since(Instant::now())
            .clamp(Duration::from_millis(1), PATIENCE);
        let map_io_error =
            |cause: String| Error::new(Code::Host, "speak with Firecracker").cause(cause);
        let client = Client::new(&socket).map_err(|cause| map_io_error(cause.to_string()))?;
        client
            .send(&Request::Action(Action::SendCtrlAltDel), left, || true)
            .map(drop)
            .map_err(|failure| map_io_error(failure.to_string()))
    }

    fn last_words(&self, vm: &Vm, host: &dyn Host) -> Option<String> {
        log::last_words(&self.layout.vm(vm.id), host)
    }

    fn words_of_exit(&self, status: i32) -> Option<&'static str> {
        exit::words(status)
    }
}
