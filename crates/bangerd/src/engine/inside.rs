//! Requests to a guest over streams: commands, its ports, its usage. None of them needs a hold:
//! when a guest ends, its streams end, too.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use banger_api::{Code, Error, GuestUsage, HostUsage, PortView, StatsView, VmRef};
use banger_guest::streams::{ListeningSocket, StreamKind, Usage};

use super::Engine;
use crate::error::Result;
use crate::vm::Vm;

/// Timeout for requests that a healthy guest answers at once.
pub(super) const PROMPT: Duration = Duration::from_secs(5);

/// Timeout for a command, because the guest may still be booting.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The longest answer of a guest, in bytes.
const LONGEST: u64 = 4 << 20;

/// The maximum number of ports in an answer.
const MOST_PORTS: usize = 4096;

impl Engine {
    /// Opens a stream for one command; `docs/exec.md` describes its frames.
    ///
    /// # Errors
    /// `conflict` if the VM does not run, `guest` if the guest does not answer.
    pub fn exec(&self, wanted: &VmRef) -> Result<UnixStream> {
        let vm = self.find(wanted)?.vm();
        let stream = self.open_stream(&vm, StreamKind::Exec, &[], PATIENCE)?;
        tracing::info!(vm = %vm.name, "a command begins");
        Ok(stream)
    }

    /// Opens a stream for one copy; the crate `banger-copy` describes its frames.
    ///
    /// # Errors
    /// Those of [`Engine::exec`].
    pub fn copy(&self, wanted: &VmRef) -> Result<UnixStream> {
        let vm = self.find(wanted)?.vm();
        let stream = self.open_stream(&vm, StreamKind::Copy, &[], PATIENCE)?;
        tracing::info!(vm = %vm.name, "a copy begins");
        Ok(stream)
    }

    /// The listening sockets of the guest.
    ///
    /// # Errors
    /// Those of [`Engine::exec`].
    pub fn ports(&self, wanted: &VmRef) -> Result<Vec<PortView>> {
        let vm = self.find(wanted)?.vm();
        let ports: Vec<ListeningSocket> = self.ask_stream(&vm, StreamKind::Ports, &[], PROMPT)?;
        let view = |port: ListeningSocket| PortView {
            protocol: plain(&port.protocol),
            address: port.address,
            port: port.port,
            pid: port.pid,
            process: port.process.as_deref().map(plain),
            forwarded_from: self.forwarded_from(&vm, &port),
        };
        Ok(ports.into_iter().take(MOST_PORTS).map(view).collect())
    }

    /// The resource usage of the VM. If the guest does not answer, the result has only the host's
    /// side.
    ///
    /// # Errors
    /// `conflict` if the VM does not run.
    pub fn stats(&self, wanted: &VmRef) -> Result<StatsView> {
        let vm = self.find(wanted)?.vm();
        let Some(host) = self.host_usage(&vm) else {
            return Err(not_running(&vm));
        };
        let capabilities = self.parts.capabilities.iter();
        let disks = capabilities.flat_map(|it| it.disks(&vm, self.host()));
        let disks = disks.collect();
        let usage = self.ask_stream::<Usage>(&vm, StreamKind::Usage, &[], PROMPT);
        let (guest, guest_error) = match usage {
            Ok(usage) => (Some(guest_usage(&usage)), None),
            Err(error) => (None, Some(error.report())),
        };
        Ok(StatsView {
            name: vm.name.clone(),
            time: self.now(),
            vcpu: vm.given().vcpu,
            host,
            guest,
            guest_error,
            disks,
        })
    }

    /// The resource usage of the VM's process on the host, if it runs.
    pub(super) fn host_usage(&self, vm: &Vm) -> Option<HostUsage> {
        let process = vm.process()?;
        let usage = self.host().usage(process).ok()??;
        Some(HostUsage {
            cpu_millis: usage.cpu_millis,
            memory_bytes: usage.pss_bytes.unwrap_or(usage.resident_bytes),
            shared_evenly: usage.pss_bytes.is_some(),
        })
    }

    /// Opens a stream, writes `ask`, and reads the guest's answer to its end.
    pub(super) fn ask_stream<T: serde::de::DeserializeOwned>(
        &self,
        vm: &Vm,
        kind: StreamKind,
        ask: &[u8],
        timeout: Duration,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut stream = self.open_stream(vm, kind, ask, timeout)?;
        let broken =
            |cause: String| Error::new(Code::Guest, "read the guest's answer").cause(cause);
        let mut json = Vec::new();
        let mut bytes = [0; 16 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || json.len() as u64 > LONGEST {
                return Err(broken("it is too slow or too long".to_owned()));
            }
            let read = stream
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(&mut bytes));
            match read {
                Ok(0) => break,
                Ok(count) => json.extend_from_slice(&bytes[..count]),
                Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(broken(cause.to_string())),
            }
        }
        serde_json::from_slice(&json).map_err(|cause| broken(cause.to_string()))
    }

    /// Opens a stream, and sends `first` in it at once.
    pub(super) fn open_stream(
        &self,
        vm: &Vm,
        kind: StreamKind,
        first: &[u8],
        timeout: Duration,
    ) -> Result<UnixStream> {
        let hypervisor = match vm.process() {
            Some(_) => self.hypervisor_of(vm),
            None => None,
        };
        let Some(hypervisor) = hypervisor else {
            return Err(not_running(vm));
        };
        hypervisor
            .open_stream(vm, kind, first, timeout)
            .map_err(|error| name_in_hints(error, vm))
    }
}

/// Replaces `NAME` in hints by the VM's name.
fn name_in_hints(mut error: Error, vm: &Vm) -> Error {
    for hint in &mut error.hints {
        *hint = hint.replace("NAME", vm.name.as_str());
    }
    error
}

pub(super) fn not_running(vm: &Vm) -> Error {
    let name = &vm.name;
    let error = Error::new(
        Code::Conflict,
        format!("`{name}` is not running: it is {}", vm.phase),
    );
    match vm.phase {
        banger_api::Phase::Stopped => error.hint(format!("banger vm start {name}")),
        _ => error.hint(format!("see its state: banger vm show {name}")),
    }
}

fn guest_usage(usage: &Usage) -> GuestUsage {
    GuestUsage {
        uptime_millis: usage.uptime_millis,
        cpu_millis: usage.cpu_busy_millis,
        load_hundredths: usage.load_hundredths,
        memory_bytes: usage.memory_bytes,
        available_bytes: usage.memory_available_bytes,
        received_bytes: usage.received_bytes,
        sent_bytes: usage.sent_bytes,
        read_bytes: usage.read_bytes,
        written_bytes: usage.written_bytes,
        oom_kills: usage.oom_kills,
    }
}

/// A guest's text, shortened and without control characters.
pub(super) fn plain(text: &str) -> String {
    let letters = text.chars().filter(|letter| !letter.is_control());
    letters.take(64).collect()
}
