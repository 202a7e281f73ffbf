//! The checks that belong to no capability, and the advice that a new user gets once.

use banger_api::location::Location;
use banger_api::{Fix, NetworkKind};
use banger_host::{Finding, Host, Probe};

use super::Assembly;
use super::configuration::ConfigurationInForce;
use crate::config::Config;
use crate::image::bundle;
use crate::image::catalog::Catalog;
use crate::readiness::Check;

/// The longest path of a Unix socket, in bytes (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// The least free space on the state directory's file system, in MiB.
const LEAST_SPACE: u64 = 2048;

/// The runtime configuration of systemd-resolved; it exists while systemd-resolved runs.
const RESOLVED: &str = "/run/systemd/resolve";

/// The administrator's drop-in for systemd-resolved.
const RESOLVED_DROP_IN: &str = "/etc/systemd/resolved.conf.d/banger.conf";

/// All checks, in the order that `doctor` prints. A simulated host has no choice of hypervisors,
/// and nothing else to check.
pub(super) fn own(
    assembly: &Assembly<'_>,
    catalog: &Catalog,
    in_force: &ConfigurationInForce,
    hypervisor: Option<Check>,
) -> Vec<Check> {
    let state = assembly.layout.state().to_owned();
    let mut checks = catalog.checks();
    checks.push(in_force.check());
    checks.push(socket(assembly.location));
    checks.push(Check::probe(
        "disk space",
        Probe::Space {
            directory: state,
            least_mib: LEAST_SPACE,
        },
    ));
    let Some(hypervisor) = hypervisor else {
        return checks;
    };
    checks.push(hypervisor);
    checks.push(
        Check::probe("KVM", Probe::Kvm)
            .only_warns()
            .fixed_by(load_kvm),
    );
    checks.push(
        Check::probe(
            "e2fsprogs",
            Probe::Program {
                name: "mke2fs".to_owned(),
                version_argument: "-V".to_owned(),
                least: (1, 46),
                package: "e2fsprogs".to_owned(),
            },
        )
        .fixed_by(|_| Some(Fix::install(&["e2fsprogs"]))),
    );
    checks.push(Check::probe("scopes", Probe::Scopes).only_warns());
    if assembly.config.dns_port != 0 {
        let address =
            std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, assembly.config.dns_port);
        checks.push(Check::probe("DNS port", Probe::Port { address }).only_warns());
        if assembly.network == NetworkKind::Tap {
            let port = assembly.config.dns_port;
            checks.push(Check::new("DNS routing", move |host| routing(port, host)));
        }
    }
    let mirrors = in_force.clone();
    checks.extend(bundle::readiness(assembly.layout.state(), move || {
        mirrors.mirrors()
    }));
    checks
}

/// The kernel module that provides `/dev/kvm`, if the processor supports it.
fn load_kvm(host: &dyn Host) -> Option<Fix> {
    if host.stat("/dev/kvm".as_ref()).ok()?.is_some() {
        return None;
    }
    let processors = host.read("/proc/cpuinfo".as_ref()).ok()??;
    let text = String::from_utf8_lossy(&processors);
    let has = |flag: &str| text.split_whitespace().any(|word| word == flag);
    let module = match (has("vmx"), has("svm")) {
        (true, _) => "kvm_intel",
        (false, true) => "kvm_amd",
        (false, false) => return None,
    };
    Some(Fix::root(
        "load the kernel's module for KVM",
        &["modprobe", module],
    ))
}

fn socket(location: &Location) -> Check {
    let path = location.socket.clone();
    Check::new("socket", move |_| {
        let length = path.as_os_str().len();
        if length <= LONGEST_SOCKET {
            return Finding::Good(path.display().to_string());
        }
        Finding::Bad {
            found: format!("its path is {length} bytes long; the maximum is {LONGEST_SOCKET}"),
            hint: "export BANGER_SOCKET=$HOME/.banger/bangerd.sock".to_owned(),
        }
    })
}

fn routing(port: u16, host: &dyn Host) -> Finding {
    let drop_in = host
        .read(RESOLVED_DROP_IN.as_ref())
        .ok()
        .flatten()
        .unwrap_or_default();
    let drop_in = String::from_utf8_lossy(&drop_in).into_owned();
    if drop_in.contains(&format!("127.0.0.1:{port}")) && drop_in.contains("~vm") {
        return Finding::Good("systemd-resolved sends queries for `vm` to banger".to_owned());
    }
    Finding::Doubtful {
        found: "the host's resolver does not send queries for `vm` to banger".to_owned(),
        hint: if has_resolved(host) {
            route_with_resolved(port)
        } else {
            route_otherwise(port)
        },
    }
}

/// The command that makes systemd-resolved query banger for `vm` (resolved.conf(5)).
fn route_with_resolved(port: u16) -> String {
    format!(
        "sudo sh -c 'mkdir -p /etc/systemd/resolved.conf.d && printf \"[Resolve]\\nDNS=127.0.0.1:{port}\\nDomains=~vm\\n\" > {RESOLVED_DROP_IN} && systemctl restart systemd-resolved'"
    )
}

fn route_otherwise(port: u16) -> String {
    format!(
        "use addresses, or add this line to dnsmasq's configuration: {}",
        dnsmasq_line(port)
    )
}

/// The advice after a create. A command or a line to copy is alone on its line.
pub(super) fn advice(config: &Config, network: NetworkKind, host: &dyn Host) -> Vec<String> {
    let port = config.dns_port;
    if network == NetworkKind::User || port == 0 {
        return Vec::new();
    }
    let missing = "NAME.vm does not resolve on this host yet";
    match routing(port, host) {
        Finding::Good(_) => Vec::new(),
        Finding::Doubtful { .. } | Finding::Bad { .. } if has_resolved(host) => {
            vec![format!(
                "{missing}; to change that, run once:\n{}",
                route_with_resolved(port)
            )]
        }
        Finding::Doubtful { .. } | Finding::Bad { .. } => vec![format!(
            "{missing}; use addresses, or add this line to dnsmasq's configuration:\n{}",
            dnsmasq_line(port)
        )],
    }
}

fn has_resolved(host: &dyn Host) -> bool {
    host.stat(RESOLVED.as_ref()).ok().flatten().is_some()
}

fn dnsmasq_line(port: u16) -> String {
    format!("server=/vm/127.0.0.1#{port}")
}
