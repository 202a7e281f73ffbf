//! Questions of an ordinary user's daemon: those that the user cannot answer go to root.

use std::net::Ipv4Addr;

use super::{DelegatingLinux, connection};
use crate::look::ask_field_without_privileges;
use crate::root::MOST_ELEMENTS;
use crate::root::message::{Reply, Request, RootLook};
use crate::{Finding, Instance, Look, Probe, Result, Snapshot};

impl Look for DelegatingLinux {
    ask_field_without_privileges!(linux);

    fn firewall_holds(
        &self,
        table: &str,
        guests: &[(String, Ipv4Addr)],
        nat: &[Ipv4Addr],
    ) -> Result<bool> {
        let most = guests.len().max(nat.len());
        let calls = most.div_ceil(MOST_ELEMENTS).max(1);
        for call in 0..calls {
            let look = RootLook::FirewallHolds {
                table: table.to_owned(),
                guests: part(guests, call).to_vec(),
                nat: part(nat, call).to_vec(),
            };
            if !self.holds(look)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn snapshot(&self, name: &str) -> Result<Option<Snapshot>> {
        let look = RootLook::Snapshot {
            name: name.to_owned(),
        };
        match self.connection.ask(&Request::Look(look), &[])? {
            Reply::Snapshot(snapshot) => Ok(snapshot),
            other => Err(connection::unexpected(&other)),
        }
    }

    fn probe(&self, probe: &Probe) -> Finding {
        match probe {
            Probe::Network => self.network(),
            Probe::ForwardedPackets { tap_prefix } => self.found(RootLook::ForwardedPackets {
                tap_prefix: tap_prefix.clone(),
            }),
            Probe::Snapshot => self.found(RootLook::Snapshots),
            Probe::Jail { directory, .. } => self.jails(directory),
            Probe::Kvm
            | Probe::Program { .. }
            | Probe::Binary { .. }
            | Probe::Reflink { .. }
            | Probe::SubnetFree { .. }
            | Probe::Port { .. }
            | Probe::Scopes
            | Probe::Space { .. } => self.linux.probe(probe),
        }
    }

    fn forwarding_holds(&self, instance: Instance) -> Result<bool> {
        self.check_instance(instance)?;
        self.holds(RootLook::ForwardingHolds)
    }
}

/// The part of a list for one of several requests.
fn part<T>(all: &[T], call: usize) -> &[T] {
    all.chunks(MOST_ELEMENTS).nth(call).unwrap_or_default()
}
