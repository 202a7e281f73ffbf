//! The choice of the hypervisor for new starts, and its reason.
//!
//! All hypervisors are available whichever is chosen, so that the daemon adopts VMs of the others.

use std::path::PathBuf;

use banger_api::NetworkKind;
use banger_host::{Finding, Host, Probe};

use crate::config::{Config, HypervisorChoice};
use crate::hypervisor::Hypervisor;
use crate::hypervisor::firecracker::{self, Firecracker};
use crate::hypervisor::qemu::Qemu;
use crate::layout::Layout;
use crate::readiness::{self, Check};
use crate::vm::names::Instance;

/// QEMU's path on Debian and its derivatives.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// The inputs of the choice.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    choice: HypervisorChoice,
    layout: Layout,
    bundle: PathBuf,
    firecracker: Option<PathBuf>,
    qemu: PathBuf,
    instance: Instance,
    jailer: bool,
    /// Whether the root helper makes the jails, because the daemon is not root.
    by_root: bool,
    network: NetworkKind,
    kvm: bool,
}

/// The hypervisor for new starts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selection {
    Firecracker,
    /// With the reason against Firecracker, if it was tried.
    Qemu(Option<String>),
}

impl Candidates {
    pub(super) fn new(
        config: &Config,
        layout: &Layout,
        bundle: &std::path::Path,
        instance: Instance,
        (network, kvm): (NetworkKind, bool),
    ) -> Self {
        Self {
            choice: config.hypervisor,
            layout: layout.clone(),
            bundle: bundle.to_owned(),
            firecracker: config.firecracker_bin.clone(),
            qemu: config.qemu.clone().unwrap_or_else(|| PathBuf::from(QEMU)),
            instance,
            jailer: config.jailer,
            by_root: false,
            network,
            kvm,
        }
    }

    /// Lets the root helper make the jails.
    pub(super) fn jailed_by_root(self, by_root: bool) -> Self {
        Self { by_root, ..self }
    }

    fn firecracker(&self, host: &dyn Host) -> Firecracker {
        let program = firecracker::find(self.firecracker.as_deref(), &self.bundle, host);
        Firecracker::new(self.layout.clone(), program, self.network)
    }

    /// Whether Firecracker can be jailed does not affect the choice: if a jail is configured and
    /// impossible, the start fails instead of running without one.
    ///
    /// `auto` takes Firecracker if its checks pass, and otherwise QEMU, whose own checks then
    /// report what is missing.
    fn take(&self, host: &dyn Host) -> Selection {
        match self.choice {
            HypervisorChoice::Firecracker => Selection::Firecracker,
            HypervisorChoice::Qemu => Selection::Qemu(None),
            HypervisorChoice::Auto => {
                match readiness::require(host, &self.firecracker(host).checks()) {
                    Ok(_) => Selection::Firecracker,
                    Err(error) => Selection::Qemu(Some(error.message)),
                }
            }
        }
    }

    /// All hypervisors, the one for new starts first, and the check that explains the choice.
    pub(super) fn choose(self, host: &dyn Host) -> (Vec<Box<dyn Hypervisor>>, Check) {
        let plain: Box<dyn Hypervisor> = Box::new(self.firecracker(host));
        let jailed = self.firecracker(host);
        let jailed: Box<dyn Hypervisor> = Box::new(if self.by_root {
            jailed.jailed_by_root()
        } else {
            jailed.jailed(self.instance)
        });
        let (firecracker, other) = if self.jailer {
            (jailed, plain)
        } else {
            (plain, jailed)
        };
        let qemu: Box<dyn Hypervisor> =
            Box::new(Qemu::new(self.layout.clone(), self.qemu.clone(), self.kvm));
        let taken = self.take(host);
        let all = match taken {
            Selection::Firecracker => vec![firecracker, qemu, other],
            Selection::Qemu(_) => vec![qemu, firecracker, other],
        };
        let check = Check::new("hypervisor", move |host| self.tell(&taken, host));
        (all, check)
    }

    fn tell(&self, taken: &Selection, host: &dyn Host) -> Finding {
        let now = self.take(host);
        let same = matches!(now, Selection::Firecracker) == matches!(taken, Selection::Firecracker);
        if !same {
            return Finding::Doubtful {
                found: format!(
                    "`auto` took {} when the daemon started, and would take {} now",
                    name(taken),
                    name(&now)
                ),
                hint: "banger daemon stop".to_owned(),
            };
        }
        let speed = match host.probe(&Probe::Kvm) {
            Finding::Good(_) => "with KVM",
            Finding::Doubtful { .. } | Finding::Bad { .. } => "in software, without KVM",
        };
        let found = match (self.choice, &now) {
            (HypervisorChoice::Auto, Selection::Firecracker) => {
                "`auto` takes Firecracker: its checks pass".to_owned()
            }
            (HypervisorChoice::Auto, Selection::Qemu(Some(why))) => {
                format!("`auto` takes QEMU, {speed}. Not Firecracker: {why}")
            }
            (_, Selection::Firecracker) => "Firecracker, as configured".to_owned(),
            (_, Selection::Qemu(_)) => format!("QEMU, as configured; {speed}"),
        };
        if self.jailer && matches!(now, Selection::Qemu(_)) {
            return Finding::Doubtful {
                found: format!("{found}. `jailer = true` applies only to Firecracker, and has no effect here"),
                hint: "see why Firecracker does not run: set `hypervisor = \"firecracker\"`, then: banger daemon stop; banger doctor"
                    .to_owned(),
            };
        }
        Finding::Good(found)
    }
}

fn name(taken: &Selection) -> &'static str {
    match taken {
        Selection::Firecracker => "Firecracker",
        Selection::Qemu(_) => "QEMU",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banger_host::Sim;

    fn candidates(choice: HypervisorChoice, network: NetworkKind) -> Candidates {
        let config = Config {
            hypervisor: choice,
            ..Config::default()
        };
        let layout = Layout::new("/state");
        let instance = Instance::new(0, layout.state());
        let bundle = "/bundle".as_ref();
        Candidates::new(&config, &layout, bundle, instance, (network, true))
    }

    fn chosen(candidates: Candidates, sim: &Sim) -> (Vec<&'static str>, Finding) {
        let (all, check) = candidates.choose(sim);
        let names = all.iter().map(|it| it.name()).collect();
        let report = check.run(sim);
        let finding = match report.hints.first().cloned() {
            Some(hint) => Finding::Doubtful {
                found: report.found,
                hint,
            },
            None => Finding::Good(report.found),
        };
        (names, finding)
    }

    #[test]
    fn auto_takes_firecracker_where_its_checks_pass_and_keeps_qemu() {
        let sim = Sim::new();
        let auto = candidates(HypervisorChoice::Auto, NetworkKind::Tap);
        let (names, finding) = chosen(auto, &sim);
        assert_eq!(names, ["firecracker", "qemu", "firecracker-jailed"]);
        assert_eq!(
            finding,
            Finding::Good("`auto` takes Firecracker: its checks pass".to_owned())
        );
    }

    #[test]
    fn with_the_jailer_only_a_jailed_firecracker_starts_and_the_other_is_found_again() {
        let sim = Sim::new();
        let jailed = || Candidates {
            jailer: true,
            ..candidates(HypervisorChoice::Auto, NetworkKind::Tap)
        };
        sim.find(
            |probe| matches!(probe, Probe::Jail { .. }),
            Finding::Bad {
                found: "there is no `/bundle/jailer`".to_owned(),
                hint: "get one".to_owned(),
            },
        );
        let (all, _) = jailed().choose(&sim);
        let names: Vec<_> = all.iter().map(|it| it.name()).collect();
        assert_eq!(names, ["firecracker-jailed", "qemu", "firecracker"]);
        let refused = readiness::require(&sim, &all[0].checks()).unwrap_err();
        assert!(refused.message.contains("/bundle/jailer"), "{refused}");
        sim.find(
            |probe| matches!(probe, Probe::Kvm),
            Finding::Bad {
                found: "there is no `/dev/kvm`".to_owned(),
                hint: "sudo modprobe kvm_intel".to_owned(),
            },
        );
        let (names, finding) = chosen(jailed(), &sim);
        assert_eq!(names[0], "qemu");
        assert!(
            matches!(&finding, Finding::Doubtful { found, .. } if found.contains("`jailer = true`")),
            "{finding:?}"
        );
    }

    #[test]
    fn auto_takes_qemu_where_there_is_no_tap_or_no_firecracker_and_says_why() {
        let sim = Sim::new();
        let user = candidates(HypervisorChoice::Auto, NetworkKind::User);
        let (names, finding) = chosen(user, &sim);
        assert_eq!(names, ["qemu", "firecracker", "firecracker-jailed"]);
        assert!(
            matches!(&finding, Finding::Good(found) if found.contains("no user networking")),
            "{finding:?}"
        );
        sim.find(
            |probe| matches!(probe, Probe::Binary { .. }),
            Finding::Bad {
                found: "there is no `/bundle/firecracker`".to_owned(),
                hint: "get one".to_owned(),
            },
        );
        let auto = candidates(HypervisorChoice::Auto, NetworkKind::Tap);
        let (names, finding) = chosen(auto, &sim);
        assert_eq!(names, ["qemu", "firecracker", "firecracker-jailed"]);
        assert!(
            matches!(&finding, Finding::Good(found)
                if found.ends_with("Not Firecracker: Firecracker: there is no `/bundle/firecracker`")),
            "{finding:?}"
        );
    }

    #[test]
    fn a_choice_that_has_changed_since_the_start_is_reported() {
        let sim = Sim::new();
        let (_, check) = candidates(HypervisorChoice::Auto, NetworkKind::Tap).choose(&sim);
        sim.find(
            |probe| matches!(probe, Probe::Kvm),
            Finding::Bad {
                found: "there is no `/dev/kvm`".to_owned(),
                hint: "sudo modprobe kvm_intel".to_owned(),
            },
        );
        let report = check.run(&sim);
        assert_eq!(
            report.found,
            "`auto` took Firecracker when the daemon started, and would take QEMU now"
        );
        assert_eq!(report.hints, ["banger daemon stop"]);
    }

    #[test]
    fn what_is_configured_is_taken_whatever_its_checks_say() {
        let sim = Sim::new();
        let only = candidates(HypervisorChoice::Firecracker, NetworkKind::User);
        assert_eq!(
            chosen(only, &sim).0,
            ["firecracker", "qemu", "firecracker-jailed"]
        );
        let only = candidates(HypervisorChoice::Qemu, NetworkKind::Tap);
        assert_eq!(
            chosen(only, &sim).0,
            ["qemu", "firecracker", "firecracker-jailed"]
        );
    }
}
