//! `banger host show`.

use std::process::ExitCode;

use banger_api::{HostView, HypervisorView, Mib};
use clap::Args;

use crate::failure::Outcome;
use crate::output::clean;
use crate::session::Session;

/// Show the machine that VMs run on: free memory and disk space, CPUs and their load, hypervisors, images.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger host show
  banger --host ada@server host show
  banger host show --json | jq .memory_free_mib")]
pub(crate) struct Show;

impl Show {
    /// Prints it.
    #[expect(clippy::unused_self, reason = "a verb runs on itself")]
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let host = session.daemon()?.host()?;
        session.output.result(&host, || text(&host))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(host: &HostView) -> String {
    let [one, five, fifteen] = host.load;
    let simulated = if host.simulated { ", simulated" } else { "" };
    let images: Vec<_> = host.images.iter().map(|it| clean(&it.name)).collect();
    let mut lines = vec![
        (
            "host",
            format!(
                "{}, {}{simulated}",
                clean(&host.name),
                clean(&host.architecture)
            ),
        ),
        ("banger", clean(&host.version)),
        (
            "CPUs",
            format!("{}, load {one:.2} {five:.2} {fifteen:.2}", host.cpus),
        ),
        (
            "memory",
            format!(
                "{} free of {}; running VMs may use {}",
                Mib(host.memory_free_mib),
                Mib(host.memory_mib),
                Mib(host.memory_of_vms_mib)
            ),
        ),
        (
            "disk",
            format!("{} free of {}", Mib(host.disk_free_mib), Mib(host.disk_mib)),
        ),
        ("VMs", format!("{}, {} running", host.vms, host.running)),
        ("images", images.join(", ")),
    ];
    for (number, hypervisor) in host.hypervisors.iter().enumerate() {
        let key = if number == 0 { "hypervisors" } else { "" };
        lines.push((key, of_hypervisor(hypervisor, number == 0)));
    }
    let line = |(key, value): (&str, String)| {
        let key = if key.is_empty() {
            String::new()
        } else {
            format!("{key}:")
        };
        format!("{key:13}{value}\n")
    };
    lines.into_iter().map(line).collect()
}

fn of_hypervisor(hypervisor: &HypervisorView, is_first: bool) -> String {
    let name = clean(&hypervisor.name);
    match (&hypervisor.reason, is_first) {
        (Some(reason), _) => format!("{name}: {}", clean(reason)),
        (None, true) => format!("{name}, for new VMs"),
        (None, false) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hypervisor_that_cannot_run_has_its_reason() {
        let mut hypervisor = HypervisorView {
            name: "qemu".to_owned(),
            available: true,
            reason: None,
        };
        assert_eq!(of_hypervisor(&hypervisor, true), "qemu, for new VMs");
        assert_eq!(of_hypervisor(&hypervisor, false), "qemu");
        hypervisor.reason = Some("it is not installed".to_owned());
        assert_eq!(
            of_hypervisor(&hypervisor, true),
            "qemu: it is not installed"
        );
    }
}
