//! The metrics: the number of VMs, their resources, and the outcomes of operations.

mod counts;
mod exposition;

use std::collections::BTreeMap;

use banger_api::{Phase, VmView};

use super::{Engine, lock};
use counts::BOUNDS;
pub(super) use counts::OperationCounts;
use exposition::{Exposition, Kind};

/// MiB in bytes.
const MIB: f64 = 1_048_576.0;

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and sizes are below 2^53"
)]
fn number(value: u64) -> f64 {
    value as f64
}

impl Engine {
    /// All metrics, in Prometheus' text format. Unknown values are absent.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = Exposition::default();
        let daemon = self.daemon();
        text.metric("banger_build_info", Kind::Gauge, "The daemon's version.")
            .add(&[("version", &daemon.version), ("mode", &daemon.mode)], 1.0);
        text.metric(
            "banger_start_time_seconds",
            Kind::Gauge,
            "When the daemon started, in seconds since 1970.",
        )
        .add(&[], daemon.started.as_duration().as_secs_f64());
        let views = self.list();
        phases(&mut text, &views);
        per_vm(&mut text, &views);
        self.usage_of_processes(&mut text);
        self.disks(&mut text);
        self.operations(&mut text);
        self.host_room(&mut text);
        text.finish()
    }

    fn usage_of_processes(&self, text: &mut Exposition) {
        let mut all = Vec::new();
        for slot in self.slots() {
            let vm = slot.vm();
            let usage = self.host_usage(&vm);
            all.extend(usage.map(|usage| (vm.name.to_string(), usage)));
        }
        let mut cpu = text.metric(
            "banger_vm_cpu_seconds_total",
            Kind::Counter,
            "The CPU time of a VM's process on the host since its start.",
        );
        for (vm, usage) in &all {
            cpu.add(&[("vm", vm)], number(usage.cpu_millis) / 1000.0);
        }
        let mut memory = text.metric(
            "banger_vm_host_memory_bytes",
            Kind::Gauge,
            "The memory of a VM's process on the host.",
        );
        for (vm, usage) in &all {
            let kind = if usage.shared_evenly { "pss" } else { "rss" };
            let labels = [("vm", vm.as_str()), ("kind", kind)];
            memory.add(&labels, number(usage.memory_bytes));
        }
    }

    fn disks(&self, text: &mut Exposition) {
        let mut all = Vec::new();
        for slot in self.slots() {
            let vm = slot.vm();
            let disks = self.parts.capabilities.iter();
            let disks = disks.flat_map(|it| it.disks(&vm, self.host()));
            all.extend(disks.map(|disk| (vm.name.to_string(), disk)));
        }
        let mut sizes = text.metric(
            "banger_vm_disk_size_bytes",
            Kind::Gauge,
            "The size of a disk as the guest sees it.",
        );
        for (vm, disk) in &all {
            sizes.add(&[("vm", vm), ("disk", &disk.name)], number(disk.size_bytes));
        }
        let mut taken = text.metric(
            "banger_vm_disk_allocated_bytes",
            Kind::Gauge,
            "Space that a disk's own file takes on the host.",
        );
        for (vm, disk) in &all {
            taken.add(
                &[("vm", vm), ("disk", &disk.name)],
                number(disk.allocated_bytes),
            );
        }
    }

    fn operations(&self, text: &mut Exposition) {
        let counts = lock(&self.counts).clone().0;
        let mut ended = text.metric(
            "banger_operations_total",
            Kind::Counter,
            "Operations that have ended since the daemon started.",
        );
        for (verb, count) in &counts {
            ended.add(&[("verb", verb), ("outcome", "done")], number(count.done));
            ended.add(
                &[("verb", verb), ("outcome", "failed")],
                number(count.failed),
            );
        }
        let mut took = text.metric(
            "banger_operation_duration_seconds",
            Kind::Histogram,
            "How long operations took.",
        );
        for (verb, count) in &counts {
            let all = number(count.done + count.failed);
            for (bound, within) in BOUNDS.iter().zip(count.within) {
                let labels = [("verb", verb.as_str()), ("le", &bound.to_string())];
                took.add_to("_bucket", &labels, number(within));
            }
            took.add_to("_bucket", &[("verb", verb), ("le", "+Inf")], all);
            took.add_to("_sum", &[("verb", verb)], count.seconds);
            took.add_to("_count", &[("verb", verb)], all);
        }
        text.metric(
            "banger_operations_open",
            Kind::Gauge,
            "Operations that are under way.",
        )
        .add(
            &[],
            number(self.change_feed(|state| state.operations.len() as u64)),
        );
    }

    fn host_room(&self, text: &mut Exposition) {
        if let Ok(free) = self.host().free_mib(self.parts.layout.state()) {
            text.metric(
                "banger_host_disk_free_bytes",
                Kind::Gauge,
                "What is free on the state directory's file system.",
            )
            .add(&[], number(free) * MIB);
        }
        if let Ok(memory) = self.host().memory_mib() {
            text.metric(
                "banger_host_memory_bytes",
                Kind::Gauge,
                "The host's memory, all of it.",
            )
            .add(&[], number(memory) * MIB);
        }
        text.metric("banger_host_cpus", Kind::Gauge, "The host's processors.")
            .add(&[], f64::from(self.host().cpus()));
    }
}

fn phases(text: &mut Exposition, views: &[VmView]) {
    // These series always exist, so that an alert finds a zero instead of nothing.
    let always = [
        Phase::Running,
        Phase::Stopped,
        Phase::Starting,
        Phase::Stopping,
    ];
    let mut counts: BTreeMap<String, u64> = always.map(|it| (it.to_string(), 0)).into();
    for view in views {
        *counts.entry(view.phase.to_string()).or_default() += 1;
    }
    let mut metric = text.metric(
        "banger_vms",
        Kind::Gauge,
        "VMs in each phase of their life.",
    );
    for (phase, count) in counts {
        metric.add(&[("phase", &phase)], number(count));
    }
    let paused = views.iter().filter(|view| view.paused).count();
    text.metric("banger_vms_paused", Kind::Gauge, "Paused VMs.")
        .add(&[], number(paused as u64));
}

fn per_vm(text: &mut Exposition, views: &[VmView]) {
    type Gauge = (&'static str, &'static str, fn(&VmView) -> f64);
    let gauges: [Gauge; 4] = [
        ("banger_vm_up", "Whether a VM runs.", |vm| {
            f64::from(u8::from(vm.phase == Phase::Running))
        }),
        ("banger_vm_vcpus", "A VM's virtual CPUs.", |vm| {
            f64::from(vm.spec.vcpu)
        }),
        ("banger_vm_memory_bytes", "Memory of a VM.", |vm| {
            number(vm.spec.memory.0) * MIB
        }),
        (
            "banger_vm_notes",
            "Properties of a VM; see banger vm show.",
            |vm| number(vm.notes.len() as u64),
        ),
    ];
    for (name, help, value) in gauges {
        let mut metric = text.metric(name, Kind::Gauge, help);
        for vm in views {
            metric.add(&[("vm", vm.name.as_str())], value(vm));
        }
    }
}
