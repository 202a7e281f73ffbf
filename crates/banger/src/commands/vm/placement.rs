//! The choice of a host for a new VM: `banger vm create --on auto`.

use std::cmp::Reverse;

use banger_api::client::Client;
use banger_api::{Code, Error, HostView, Mib, Result};

use crate::all_hosts::{self, Answers};
use crate::output::clean;
use crate::session::Session;

/// Takes the host with the most room.
pub(super) const AUTO: &str = "auto";

/// The requirements of a new VM.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    /// The image's name; `None` for the host's default.
    pub(super) image: Option<String>,
    /// Its memory; `None` for the host's default.
    pub(super) memory: Option<Mib>,
    /// Whether it starts at once.
    pub(super) starts: bool,
}

/// Chooses a host among those that the user has named and this machine.
///
/// # Errors
/// If no host answers, or none is suitable, with the reason for each.
pub(super) fn choose(session: &Session, wish: &Wish) -> Result<String> {
    let Answers { heard, silent } = all_hosts::ask(session, Client::host)?;
    for (host, error) in &silent {
        session
            .output
            .warning(&format!("{host} is not considered: {error}"));
    }
    best(&heard, wish)
}

/// The host with the most free memory that no other VM may use; then the most free disk space.
fn best(hosts: &[(String, HostView)], wish: &Wish) -> Result<String> {
    let fit = hosts.iter().filter(|(_, host)| unfit(host, wish).is_none());
    // Among equal ones, the first by name.
    let room = |host: &HostView| (host.memory_room_mib(), host.disk_free_mib);
    if let Some((name, _)) = fit.min_by_key(|(_, host)| Reverse(room(host))) {
        return Ok(name.clone());
    }
    let error = Error::new(Code::NotReady, "no host can take the VM");
    let reasons = hosts
        .iter()
        .filter_map(|(name, host)| Some((name, unfit(host, wish)?)));
    let error = reasons.fold(error, |error, (name, why)| {
        error.cause(format!("{name}: {why}"))
    });
    Err(error.hint("see their room: banger --host NAME host show"))
}

/// The reason why a host cannot take the VM. The host itself decides when the VM is created.
fn unfit(host: &HostView, wish: &Wish) -> Option<String> {
    if wish.starts && !host.can_run_vms() {
        let first = host.hypervisors.first().and_then(|it| it.reason.as_deref());
        return Some(format!(
            "no VM can run there: {}",
            clean(first.unwrap_or("no hypervisor"))
        ));
    }
    if let Some(image) = &wish.image
        && !host.images.iter().any(|it| it.name == *image)
    {
        return Some(format!("it has no image `{image}`"));
    }
    let room = Mib(host.memory_room_mib());
    match wish.memory {
        Some(memory) if wish.starts && memory.0 > room.0 => Some(format!(
            "{room} of memory is left, and the VM wants {memory}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use banger_api::{HostImage, HypervisorView};

    use super::*;

    fn host(name: &str, memory_free_mib: u64, memory_of_vms_mib: u64) -> (String, HostView) {
        let view = HostView {
            name: name.to_owned(),
            architecture: "x86_64".to_owned(),
            version: "0.1.0".to_owned(),
            simulated: true,
            cpus: 8,
            load: [0.0; 3],
            memory_mib: 65_536,
            memory_free_mib,
            memory_of_vms_mib,
            disk_mib: 1 << 20,
            disk_free_mib: 1 << 19,
            hypervisors: vec![HypervisorView {
                name: "qemu".to_owned(),
                available: true,
                reason: None,
            }],
            images: vec![HostImage {
                name: "default".to_owned(),
                digest: String::new(),
            }],
            vms: 0,
            running: 0,
        };
        (name.to_owned(), view)
    }

    fn wish(memory: u64) -> Wish {
        Wish {
            image: None,
            memory: Some(Mib(memory)),
            starts: true,
        }
    }

    #[test]
    fn the_host_with_the_most_room_is_taken() {
        let mut hosts = vec![
            host("a", 20_000, 0),
            host("b", 40_000, 0),
            // The memory is free now, but promised to other VMs.
            host("c", 60_000, 60_000),
        ];
        assert_eq!(best(&hosts, &wish(2048)).unwrap(), "b");
        hosts[0].1.memory_free_mib = 40_000;
        assert_eq!(
            best(&hosts, &wish(2048)).unwrap(),
            "a",
            "the first of equal ones"
        );
        hosts[0].1.hypervisors[0].available = false;
        assert_eq!(best(&hosts, &wish(2048)).unwrap(), "b");
        hosts[2].1.images[0].name = "dev".to_owned();
        let of_image = Wish {
            image: Some("dev".to_owned()),
            ..wish(1024)
        };
        assert_eq!(best(&hosts, &of_image).unwrap(), "c");
    }

    #[test]
    fn each_host_that_is_not_fit_says_why() {
        let mut hosts = vec![host("a", 1000, 0), host("b", 50_000, 0)];
        hosts[1].1.hypervisors[0] = HypervisorView {
            name: "qemu".to_owned(),
            available: false,
            reason: Some("it is not installed".to_owned()),
        };
        let error = best(&hosts, &wish(2048)).unwrap_err();
        assert_eq!(
            error.causes,
            [
                "a: 1000M of memory is left, and the VM wants 2G",
                "b: no VM can run there: it is not installed"
            ]
        );
        // A VM that is only created may wait for memory.
        let later = Wish {
            starts: false,
            ..wish(2048)
        };
        assert_eq!(best(&hosts, &later).unwrap(), "b");
        best(&[], &wish(1)).unwrap_err();
    }
}
