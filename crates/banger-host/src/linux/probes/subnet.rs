//! Whether the network for guests overlaps a network that the host already reaches.

use super::{bad, doubtful, good, in_one_line};
use crate::linux::context::During as _;
use crate::linux::netlink;
use crate::{Finding, Subnet};

/// The hint for either case.
const HINT: &str = "set `subnet` in ~/.config/banger/config.toml to one that `ip route show table \
                    all` does not have";

pub(super) fn probe(subnet: Subnet, tap_prefix: &str) -> Finding {
    match clash(subnet, tap_prefix) {
        Ok(None) => good(format!("no route overlaps {subnet}")),
        Ok(Some((route, interface))) if route.prefix < subnet.prefix => doubtful(
            format!(
                "the route {route} by `{interface}` covers {subnet}: guests are reachable, other hosts with addresses in it are not"
            ),
            HINT,
        ),
        Ok(Some((route, interface))) => bad(
            format!("the route {route} by `{interface}` overlaps {subnet}"),
            HINT,
        ),
        Err(error) => bad(in_one_line(&error), "ip route show"),
    }
}

/// The longest route that overlaps the network, and its interface, except default routes and our
/// TAPs.
fn clash(subnet: Subnet, tap_prefix: &str) -> crate::Result<Option<(Subnet, String)>> {
    let prefix = tap_prefix.to_owned();
    netlink::talk(move |handle| {
        Box::pin(async move {
            let look = || "examine the host's routes".to_owned();
            let mut routes = netlink::routes(&handle).await.during(look)?;
            routes.sort_by_key(|it| std::cmp::Reverse(it.to.prefix));
            for route in routes {
                // A shorter route counts as a default route: VPNs split it into halves, 0.0.0.0/1.
                if route.to.prefix < 4 || !route.to.overlaps(subnet) {
                    continue;
                }
                let name = match route.interface {
                    Some(index) => netlink::link_name(&handle, index).await.ok().flatten(),
                    None => None,
                };
                let name = name.unwrap_or_else(|| "an unknown interface".to_owned());
                if !name.starts_with(&prefix) {
                    return Ok(Some((route.to, name)));
                }
            }
            Ok(None)
        })
    })
}
