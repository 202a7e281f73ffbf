//! Which VM has a port or a socket of the host: each belongs to the VM whose record has it, whether it
//! runs or not. A VM in the trash has none.

use std::net::IpAddr;

use banger_api::{Code, Endpoint, EndpointHost, Error, Forward, VmName};

use super::super::Engine;
use crate::error::Result;
use crate::vm::Vm;

impl Engine {
    /// Refuses a place to listen that is somebody's already, with that VM's name.
    pub(super) fn refuse_taken(&self, vm: &Vm, forward: &Forward) -> Result<()> {
        if matches!(forward.listen, Endpoint::Tcp(_, 0)) {
            return Ok(());
        }
        let mut own = vm.all_forwards().filter(|it| meet(it, forward));
        let found = match own.next() {
            Some(own) => Some((vm.name.clone(), own.clone())),
            None => self.holder(vm, forward),
        };
        match found {
            None => Ok(()),
            Some((name, found)) => Err(Error::new(
                Code::Conflict,
                format!("`{name}` has a forward of {} already", found.listen),
            )
            .cause(format!("it is {found}"))
            .hint(format!(
                "remove it: banger vm forward {name} --remove {}",
                found.listen
            ))),
        }
    }

    /// Another VM that has the place where this forward listens on the host.
    pub(super) fn holder(&self, vm: &Vm, forward: &Forward) -> Option<(VmName, Forward)> {
        if forward.reverse {
            return None;
        }
        self.slots().iter().find_map(|slot| {
            let other = slot.vm();
            let mut all = other.all_forwards().filter(|_| other.id != vm.id);
            let found = all.find(|it| meet(it, forward)).cloned();
            found.map(|found| (other.name.clone(), found))
        })
    }

    /// The notes about forwards that another VM has, too: older bangers allowed that, and a VM that
    /// returns from the trash may find its port taken.
    pub(super) fn shared_notes(&self, vm: &Vm) -> Vec<String> {
        let shared = |forward: &Forward| {
            let (name, found) = self.holder(vm, forward)?;
            Some(format!(
                "{} is also a forward of `{name}` ({found}): whichever runs first has it; remove one: \
                 banger vm forward {} --remove {}",
                forward.listen, vm.name, forward.listen
            ))
        };
        vm.all_forwards().filter_map(shared).collect()
    }
}

/// Whether two forwards cannot listen at the same time, on the host or in the same guest.
fn meet(one: &Forward, other: &Forward) -> bool {
    one.reverse == other.reverse
        && match (&one.listen, &other.listen) {
            (Endpoint::Tcp(host, port), Endpoint::Tcp(host_of_other, port_of_other)) => {
                port == port_of_other && hosts_meet(*host, *host_of_other)
            }
            (one, other) => one == other,
        }
}

fn hosts_meet(one: EndpointHost, other: EndpointHost) -> bool {
    let addresses = |host| match host {
        EndpointHost::Localhost => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        EndpointHost::Address(address) => address,
    };
    let (one, other) = (addresses(one), addresses(other));
    let both = [one, other];
    // All addresses of IPv6 are those of IPv4, too: one socket takes both.
    one == other
        || both.iter().any(|it| it.is_ipv6() && it.is_unspecified())
        || both.iter().all(IpAddr::is_ipv4) && both.iter().any(IpAddr::is_unspecified)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(listen: &str) -> Forward {
        Forward {
            listen: listen.parse().unwrap(),
            target: "80".parse().unwrap(),
            reverse: false,
        }
    }

    #[test]
    fn an_address_meets_itself_and_all_addresses_of_its_kind() {
        for (one, other, expected) in [
            ("8080", "127.0.0.1:8080", true),
            ("8080", "8081", false),
            ("0.0.0.0:8080", "127.0.0.1:8080", true),
            ("10.0.0.1:8080", "127.0.0.1:8080", false),
            ("[::]:8080", "[::1]:8080", true),
            ("[::]:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "[::1]:8080", false),
            ("/run/a", "/run/a", true),
            ("/run/a", "/run/b", false),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                assert_eq!(
                    meet(&forward(one), &forward(other)),
                    expected,
                    "{one} {other}"
                );
            }
        }
        let inside = Forward {
            reverse: true,
            ..forward("8080")
        };
        assert!(!meet(&inside, &forward("8080")), "one is the guest's");
    }
}
