//! Chooses an unused network and DNS port for a user.

use std::net::Ipv4Addr;
use std::path::Path;

use super::InstallRequest;
use crate::{Claim, Error, Finding, Instance, Kind, Linux, Look as _, Probe, Result, Subnet};

/// The second bytes of the networks 10.x.0.0/16 to choose from, in blocks of /20.
const NETWORKS: std::ops::RangeInclusive<u8> = 215..=229;

/// The first DNS port to try; the next ones follow it.
const FIRST_PORT: u16 = 42069;

/// The number of ports to try.
const PORTS: u16 = 1000;

/// Networks that no guest may have, with the reason.
const KEPT: [([u8; 4], u8, &str); 4] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local addresses"),
    ([224, 0, 0, 0], 3, "multicast and reserved addresses"),
];

/// The requested network, or the user's current one, or the first unused one.
pub(super) fn subnet(
    request: &InstallRequest,
    before: Option<&Claim>,
    others: &[Claim],
    state: &Path,
) -> Result<Subnet> {
    let prefix = Instance::new(request.uid, state).tap_prefix();
    if let Some(wanted) = request.subnet {
        return match trouble(wanted, others, &prefix)? {
            None => Ok(wanted),
            Some(why) => Err(Error::new(Kind::Busy, why)
                .within(format!("the network {wanted} is not available"))
                .hint("leave `--subnet` out, and a free one is chosen")),
        };
    }
    if let Some(before) = before {
        return Ok(before.subnet);
    }
    for second in NETWORKS {
        for third in (0..=240).step_by(16) {
            let subnet = Subnet {
                network: Ipv4Addr::new(10, second, third, 0),
                prefix: 20,
            };
            if trouble(subnet, others, &prefix)?.is_none() {
                return Ok(subnet);
            }
        }
    }
    Err(Error::new(
        Kind::Missing,
        "no network in 10.215.0.0 to 10.229.255.255 is free",
    )
    .hint("name one with --subnet, such as 172.30.0.0/20"))
}

/// The reason why this network cannot be granted, if there is one.
fn trouble(subnet: Subnet, others: &[Claim], tap_prefix: &str) -> Result<Option<String>> {
    for (network, prefix, what) in KEPT {
        let network = network.into();
        if subnet.overlaps(Subnet { network, prefix }) {
            return Ok(Some(format!("it is reserved for {what}")));
        }
    }
    if let Some(other) = others.iter().find(|it| it.subnet.overlaps(subnet)) {
        let text = format!("user {} has {}", other.user, other.subnet);
        return Ok(Some(text));
    }
    let probe = Probe::SubnetFree {
        subnet,
        tap_prefix: tap_prefix.to_owned(),
    };
    Ok(match Linux::new()?.probe(&probe) {
        // A route that covers the whole network, such as a VPN's, is less specific than the routes
        // to guests.
        Finding::Good(_) | Finding::Doubtful { .. } => None,
        Finding::Bad { found, .. } => Some(found),
    })
}

/// The requested port, or the user's current one, or the first unused one.
pub(super) fn dns_port(
    request: &InstallRequest,
    before: Option<&Claim>,
    others: &[Claim],
) -> Result<u16> {
    let holder = |port: u16| others.iter().find(|it| it.dns_port == port && port != 0);
    match (request.dns_port, before) {
        (Some(wanted), _) => match holder(wanted) {
            None => Ok(wanted),
            Some(other) => Err(Error::new(
                Kind::Busy,
                format!("DNS port {wanted} belongs to user {}", other.user),
            )
            .hint("leave `--dns-port` out, and a free one is chosen")),
        },
        (None, Some(before)) => Ok(before.dns_port),
        (None, None) => (FIRST_PORT..FIRST_PORT + PORTS)
            .find(|port| holder(*port).is_none())
            .ok_or_else(|| {
                Error::new(Kind::Missing, "no DNS port is free").hint("name one with --dns-port")
            }),
    }
}
