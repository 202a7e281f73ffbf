//! A guest on user networking cannot reach the host, NAT takes effect at once, and exactly one gate
//! runs while the VM does.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::world::{World, kill, wait_for};

/// A listener of the host that no guest may reach.
fn listener(address: Ipv4Addr) -> TcpListener {
    let listener = TcpListener::bind((address, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn assert_no_connection(listener: &TcpListener) {
    let came = listener.accept().map(|(_, from)| from);
    let error = came.expect_err("somebody came to the host");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// The host's own address towards the outside, if it has one.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // Nothing is sent; no host has this address (RFC 5737).
    socket.connect(("198.51.100.1", 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// A resolver of the host that is another machine.
fn resolver() -> Option<Ipv4Addr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|it| it.strip_prefix("nameserver "));
    named
        .filter_map(|it| it.trim().parse::<Ipv4Addr>().ok())
        .find(|it| !it.is_loopback() && Some(*it) != own_address())
}

/// The running gates of a VM, with their arguments.
fn gates(id: &str) -> Vec<(u32, String)> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let read = |path: &Path| {
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        let words = std::fs::read_to_string(path.join("cmdline")).ok()?;
        let name = words.split('\0').nth(2)?.to_owned();
        let is_gate = words.split('\0').nth(1) == Some("gate");
        (is_gate && name.contains(id)).then_some((pid, name))
    };
    processes.filter_map(|it| read(&it.path())).collect()
}

/// Tests all of this on the running VM `mine`, which has NAT. It is stopped afterwards.
pub(crate) fn examine(world: &World) {
    let view = world.show("mine");
    the_host_is_refused(world, view["ssh"]["port"].as_u64().unwrap());
    nat_follows(world);
    the_gate_is_put_back_and_ends_with_its_vm(world, view["id"].as_str().unwrap());
}

fn the_host_is_refused(world: &World, ssh_port: u64) {
    let (loopback, everywhere) = (
        listener(Ipv4Addr::LOCALHOST),
        listener(Ipv4Addr::UNSPECIFIED),
    );
    let port = |it: &TcpListener| u64::from(it.local_addr().unwrap().port());
    let mut refused = vec![
        format!("10.0.2.2 {}", port(&loopback)),
        format!("10.0.2.2 {}", port(&everywhere)),
        format!("10.0.2.2 {ssh_port}"),
        format!("10.0.2.3 {}", port(&loopback)),
        format!("10.0.2.77 {}", port(&loopback)),
        format!("127.0.0.1 {}", port(&everywhere)),
    ];
    refused.extend(own_address().map(|it| format!("{it} {}", port(&everywhere))));
    for place in &refused {
        let place = place.replace(' ', "/");
        let open = format!("timeout 8 bash -c 'exec 3<>/dev/tcp/{place}'");
        let run = world.run(&["vm", "ssh", "mine", "--", "sh", "-c", &open]);
        assert_ne!(run.status, 0, "{place} answers");
        assert_ne!(run.status, 255, "{place}: {}", run.stderr);
    }
    assert_no_connection(&loopback);
    assert_no_connection(&everywhere);
    // The packet leaves the guest as if for another machine, past the guest's own loopback.
    let raw = "sysctl -qw net.ipv4.conf.eth0.route_localnet=1 net.ipv4.conf.all.route_localnet=1; \
               ip route del table local 127.0.0.0/8 dev lo 2>/dev/null; \
               ip route del table local 127.0.0.1 dev lo 2>/dev/null; \
               ip route add 127.0.0.1/32 via 10.0.2.2 src 10.0.2.15";
    let open = format!(
        "{raw}; timeout 8 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}'",
        port(&loopback)
    );
    let run = world.run(&["vm", "ssh", "mine", "--", "sh", "-c", &open]);
    assert_ne!(run.status, 0, "the host's 127.0.0.1 answers");
    assert_no_connection(&loopback);
}

fn nat_follows(world: &World) {
    let Some(resolver) = resolver() else {
        eprintln!("SKIPPED: {}: no other machine answers", module_path!());
        return;
    };
    let open = format!("timeout 10 bash -c 'exec 3<>/dev/tcp/{resolver}/53'");
    world.sh("mine", &open);
    world.must(&["vm", "set", "mine", "--no-nat"]);
    let view = world.show("mine");
    assert_eq!(view["spec"]["nat"], false);
    assert!(view["pending"].is_null(), "{view}");
    let run = world.run(&["vm", "ssh", "mine", "--", "sh", "-c", &open]);
    assert_eq!(run.status, 1, "it is refused at once: {}", run.stderr);
    world.must(&["vm", "set", "mine", "--nat"]);
    world.sh("mine", &open);
}

fn the_gate_is_put_back_and_ends_with_its_vm(world: &World, id: &str) {
    let patience = Duration::from_secs(30);
    let [(first, name)] = &gates(id)[..] else {
        panic!("{:?}", gates(id));
    };
    assert!(name.ends_with("-open"), "{name}");
    kill(*first);
    wait_for(patience, || match &gates(id)[..] {
        [(pid, _)] if pid != first => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(world.sh("mine", "echo there"), "there");
    kill(world.daemon_pid());
    let found = gates(id);
    assert_eq!(found.len(), 1, "it goes on without a daemon: {found:?}");
    let process = world.show("mine")["pid"].as_u64().unwrap();
    assert_eq!(gates(id), found, "the next daemon has the same");
    kill(world.daemon_pid());
    kill(u32::try_from(process).unwrap());
    wait_for(patience, || match gates(id) {
        none if none.is_empty() => Ok(()),
        left => Err(format!("left behind: {left:?}")),
    });
    world.wait_phase("mine", "stopped", patience);
}
