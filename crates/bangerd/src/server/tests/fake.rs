//! An engine that does what the name of the VM says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use banger_api::{
    CheckReport, Code, CreateVm, DaemonView, DeleteVm, Error, Event, KillVm, Mib, NetworkKind,
    Phase, Progress, Report, Result, SetVm, StartVm, StopAllVms, StopVm, Stopped, StoppedAll,
    Verdict, VmId, VmRef, VmView,
};

use super::super::verbs::{ConsoleChunk, PIECE, Verbs};

#[derive(Default)]
pub(super) struct Fake {
    calls: Mutex<Vec<String>>,
    is_open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
    listeners: Mutex<Vec<Sender<Event>>>,
    console: Mutex<(Vec<u8>, bool)>,
    grown: Condvar,
    pub(super) console_calls: AtomicUsize,
}

pub(super) fn vm(name: &str) -> VmView {
    VmView {
        id: VmId::from_bits(42),
        name: name.parse().unwrap(),
        phase: Phase::Running,
        paused: false,
        rescue: false,
        pause_reason: None,
        image: "default".to_owned(),
        vcpu: 2,
        memory: Mib(2048),
        disk_size: Mib(16_384),
        system_disk_size: Mib(16_384),
        nat: false,
        pending: None,
        network: NetworkKind::Tap,
        address: Some([10, 215, 0, 2].into()),
        dns_name: format!("{name}.vm"),
        ssh: None,
        hypervisor: Some("qemu".to_owned()),
        root_disk: "copy".to_owned(),
        disks: Vec::new(),
        pid: Some(4711),
        created: "2026-11-23T12:00:00Z".parse().unwrap(),
        started: None,
        last_end: None,
        notes: Vec::new(),
    }
}

pub(super) fn daemon() -> DaemonView {
    DaemonView {
        version: "0".to_owned(),
        pid: 1,
        mode: "sim".to_owned(),
        socket: "/s".to_owned(),
        state: "/state".to_owned(),
        config: "/config.toml".to_owned(),
        bundle: "/bundle".to_owned(),
        dns: None,
        started: "2026-11-23T12:00:00Z".parse().unwrap(),
        vms: 1,
        running: 1,
        unexplained: Vec::new(),
    }
}

pub(super) fn report() -> Report {
    let check = CheckReport {
        name: "KVM".to_owned(),
        verdict: Verdict::Warn,
        found: "none".to_owned(),
        hint: Some("look".to_owned()),
    };
    Report {
        checks: vec![check],
    }
}

pub(super) fn steps() -> Vec<Progress> {
    vec![
        Progress {
            step: "check".to_owned(),
            seconds: None,
        },
        Progress {
            step: "check".to_owned(),
            seconds: Some(0.25),
        },
        Progress {
            step: "boot".to_owned(),
            seconds: Some(1.5),
        },
    ]
}

pub(super) fn error(code: &str) -> Error {
    let code: Code = serde_json::from_str(&format!("\"{code}\"")).unwrap();
    Error::new(code, "it went wrong")
        .cause("because")
        .hint("type this")
}

impl Fake {
    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// How many verbs wait at the gate.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn open_gate(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub(super) fn listeners(&self) -> usize {
        self.listeners.lock().unwrap().len()
    }

    pub(super) fn happen(&self, event: &Event) {
        for listener in &*self.listeners.lock().unwrap() {
            listener.send(event.clone()).unwrap();
        }
    }

    /// The guest prints; `is_live` says whether its VM still runs.
    pub(super) fn print(&self, bytes: &[u8], is_live: bool) {
        let mut console = self.console.lock().unwrap();
        console.0.extend_from_slice(bytes);
        console.1 = is_live;
        self.grown.notify_all();
    }

    fn wait_at_gate(&self) {
        let is_open = self.is_open.lock().unwrap();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(
            self.opened
                .wait_while(is_open, |is_open| !*is_open)
                .unwrap(),
        );
    }

    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    fn done(&self, verb: &str, vm: &VmRef, asked: impl std::fmt::Debug) -> Result<VmView> {
        let view = self.show(vm)?;
        self.note(format!("{verb} {vm} {asked:?}"));
        Ok(view)
    }
}

impl Verbs for Fake {
    fn list(&self) -> Vec<VmView> {
        vec![vm("calm-otter")]
    }

    fn show(&self, wanted: &VmRef) -> Result<VmView> {
        match wanted.as_str().strip_prefix("error-") {
            Some(code) => Err(error(code)),
            None => Ok(vm("calm-otter")),
        }
    }

    fn create(&self, asked: CreateVm, heard: &dyn Fn(Progress)) -> Result<VmView> {
        let name = asked.name.clone().unwrap_or("made-up".to_owned());
        match name.as_str() {
            "steps" => steps().into_iter().for_each(heard),
            "fails-late" => {
                steps().into_iter().for_each(heard);
                return Err(error("host"));
            }
            "panics" => panic!("as asked"),
            "panics-late" => {
                steps().into_iter().for_each(heard);
                panic!("as asked");
            }
            "gated" => {
                steps().into_iter().for_each(heard);
                self.wait_at_gate();
                self.note(format!("finished {name}"));
            }
            "chatty" => {
                for _ in 0..100_000 {
                    heard(Progress {
                        step: "a long name of a step".repeat(10),
                        seconds: None,
                    });
                }
                self.note(format!("finished {name}"));
            }
            _ => self.note(format!("create {asked:?}")),
        }
        Ok(vm(&name))
    }

    fn start(&self, vm: &VmRef, asked: StartVm, _: &dyn Fn(Progress)) -> Result<VmView> {
        self.done("start", vm, asked)
    }

    fn stop(&self, vm: &VmRef, asked: StopVm, _: &dyn Fn(Progress)) -> Result<Stopped> {
        let vm = self.done("stop", vm, asked)?;
        Ok(Stopped {
            vm,
            synced: true,
            by: "agent".to_owned(),
        })
    }

    fn stop_all(&self, asked: StopAllVms, _: &dyn Fn(Progress)) -> Result<StoppedAll> {
        self.note(format!("stop all {asked:?}"));
        Ok(StoppedAll::default())
    }

    fn restart(&self, vm: &VmRef, asked: StopVm, _: &dyn Fn(Progress)) -> Result<VmView> {
        self.done("restart", vm, asked)
    }

    fn kill(&self, vm: &VmRef, asked: KillVm, _: &dyn Fn(Progress)) -> Result<VmView> {
        self.done("kill", vm, asked)
    }

    fn set(&self, vm: &VmRef, asked: SetVm, _: &dyn Fn(Progress)) -> Result<VmView> {
        self.done("set", vm, asked)
    }

    fn delete(&self, vm: &VmRef, asked: DeleteVm, _: &dyn Fn(Progress)) -> Result<VmView> {
        self.done("delete", vm, asked)
    }

    fn doctor(&self) -> Report {
        report()
    }

    fn daemon(&self) -> DaemonView {
        daemon()
    }

    fn console(&self, vm: &VmRef, from: Option<u64>) -> Result<ConsoleChunk> {
        self.console_calls.fetch_add(1, Ordering::SeqCst);
        self.show(vm)?;
        let console = self.console.lock().unwrap();
        let start = from.unwrap_or(0) as usize;
        let at_end = |console: &mut (Vec<u8>, bool)| console.0.len() <= start && console.1;
        let patience = Duration::from_millis(200);
        let (console, _) = self
            .grown
            .wait_timeout_while(console, patience, at_end)
            .unwrap();
        let end = console.0.len().min(start + PIECE);
        let bytes = console.0[start..end].to_vec();
        Ok(ConsoleChunk {
            next: (start + bytes.len()) as u64,
            bytes,
            live: console.1,
        })
    }

    fn subscribe(&self) -> Receiver<Event> {
        let (sender, receiver) = channel();
        self.listeners.lock().unwrap().push(sender);
        receiver
    }
}
