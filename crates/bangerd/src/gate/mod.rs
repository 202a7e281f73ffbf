//! The gate: a process between a guest and QEMU's user networking.
//!
//! QEMU's user networking answers for the host. A packet of a guest for its gateway 10.0.2.2, for
//! 127.0.0.1 or for any address of the host arrives at the host's own listeners, as if it came from
//! a program of the user: at databases on loopback, and at other VMs' SSH ports. QEMU has no option
//! that closes this path and keeps the network, so QEMU passes each frame through the gate:
//!
//! ```text
//! guest ─ virtio-net ─ guest.sock ─► gate ─► outside.sock ─ hub ─ user networking ─► network
//!                                     │
//!                          refused: a reset, or ICMP
//! ```
//!
//! QEMU listens on both sockets, and only the gate connects them, so a guest without its gate has
//! no network. The gate is stateless: another gate can replace it without breaking connections,
//! which is how NAT is turned on and off. It ends when QEMU does.

mod judge;
mod refusal;
mod relay;
mod route_cache;

use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use banger_api::{Code, Error, Result};
use rustix::event::{Timespec, poll};

use crate::layout::machine;
use judge::Judge;
use route_cache::RouteCache;

/// The guest's address. QEMU's user networking assigns it by default, like the next two:
/// <https://www.qemu.org/docs/master/system/devices/net.html>
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// The guest's gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// The guest's resolver, which forwards to the host's own.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// Timeout for QEMU's sockets. QEMU is started after the gate, once the rest of the VM's host side
/// exists.
const PATIENCE: Duration = Duration::from_secs(120);

/// The interval at which QEMU's sockets are tried.
const PAUSE: Duration = Duration::from_millis(10);

/// Relays frames between the two sockets in `folder` until QEMU ends; to other machines if `nat` is
/// set.
///
/// # Errors
/// QEMU does not listen in time, or sends an invalid frame.
pub fn run(folder: &Path, nat: bool) -> Result<()> {
    let guest = connect(&folder.join(machine::GUEST_SOCKET))?;
    let outside = connect(&folder.join(machine::OUTSIDE_SOCKET))?;
    let mut judge = Judge::new(nat, RouteCache::default());
    relay::relay(guest, outside, |frame| judge.judge(frame))
        .map_err(|cause| Error::new(Code::Host, "pass frames on").cause(cause.to_string()))
}

fn connect(path: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(cause) if Instant::now() >= deadline => {
                return Err(
                    Error::new(Code::Host, format!("connect to `{}`", path.display()))
                        .cause(cause.to_string()),
                );
            }
            Err(_) => {
                let pause = Timespec::try_from(PAUSE).unwrap_or_default();
                // An interrupted poll is a short wait.
                let _ = poll(&mut [], Some(&pause));
            }
        }
    }
}
