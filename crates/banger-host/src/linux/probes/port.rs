//! Whether an address on loopback can be bound, and which process has it if not.

use std::io::ErrorKind;
use std::net::{SocketAddrV4, TcpListener, UdpSocket};

use super::{bad, good};
use crate::Finding;

pub(super) fn probe(address: SocketAddrV4) -> Finding {
    let udp = UdpSocket::bind(address).map(drop);
    // The standard library sets SO_REUSEADDR, as a server would.
    let tcp = TcpListener::bind(address).map(drop);
    let port = address.port();
    for (result, protocol) in [(udp, "udp"), (tcp, "tcp")] {
        let Err(error) = result else { continue };
        if error.kind() != ErrorKind::AddrInUse {
            return bad(
                format!("{protocol} {address} cannot be bound: {error}"),
                "ports below 1024 need root; set another in ~/.config/banger/config.toml",
            );
        }
        // If root keeps the port for us, systemd has it open as well.
        if is_ours(protocol, address) {
            continue;
        }
        let who = holder(protocol, address).map_or_else(
            || "another program".to_owned(),
            |it| format!("`{}` (process {})", it.name, it.pid),
        );
        return bad(
            format!("{who} uses {protocol} {address}"),
            format!("find and stop it: sudo ss -lnutp 'sport = :{port}'"),
        );
    }
    good(format!("{address} is available, or belongs to banger"))
}

struct Holder {
    pid: u32,
    name: String,
}

/// The process with a socket at this address, as far as we may see it.
fn holder(protocol: &str, address: SocketAddrV4) -> Option<Holder> {
    let table = std::fs::read_to_string(format!("/proc/thread-self/net/{protocol}")).ok()?;
    let inode = socket_inode(&table, address)?;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|it| it.parse::<u32>().ok())
        else {
            continue;
        };
        if has_open(&pid.to_string(), inode) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(Holder {
                pid,
                name: name.trim().to_owned(),
            });
        }
    }
    None
}

/// Whether this process has a socket at this address, even if others have it, too.
fn is_ours(protocol: &str, address: SocketAddrV4) -> bool {
    std::fs::read_to_string(format!("/proc/thread-self/net/{protocol}"))
        .ok()
        .and_then(|table| socket_inode(&table, address))
        .is_some_and(|inode| has_open("self", inode))
}

/// Whether a process has this socket open, as far as we may see it.
fn has_open(process: &str, inode: u64) -> bool {
    let link = format!("socket:[{inode}]");
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"));
    descriptors
        .into_iter()
        .flatten()
        .flatten()
        .any(|it| std::fs::read_link(it.path()).is_ok_and(|to| to.as_os_str() == link.as_str()))
}

/// The inode in a line of the table, `sl local_address rem_address st …`: field 10. An address is
/// in host byte order, `0100007F:A455`. See proc_pid_net(5).
fn socket_inode(table: &str, address: SocketAddrV4) -> Option<u64> {
    let port = format!("{:04X}", address.port());
    let own = format!("{:08X}", u32::from_ne_bytes(address.ip().octets()));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, local_port) = fields.get(1)?.split_once(':')?;
        let remote = fields.get(2)?;
        let listens = remote.ends_with(":0000");
        let matches = local_port == port && (local == own || local == "00000000") && listens;
        matches.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_we_hold_is_ours() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = udp.local_addr().unwrap() else {
            panic!()
        };
        let finding = probe(address);
        assert!(matches!(finding, Finding::Good(_)), "{finding:?}");
        drop(udp);
        assert!(matches!(probe(address), Finding::Good(_)));
    }

    #[test]
    fn the_table_is_read_as_the_kernel_writes_it() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  7: 0100007F:A455 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 11 2\n\
            \x20  8: 0100007F:A455 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2\n";
        if cfg!(target_endian = "little") {
            assert_eq!(
                socket_inode(table, "127.0.0.1:42069".parse().unwrap()),
                Some(4711)
            );
            assert_eq!(
                socket_inode(table, "127.0.0.2:42069".parse().unwrap()),
                None
            );
        }
    }

    #[test]
    fn another_program_that_holds_it_is_named() {
        use std::io::{BufRead as _, BufReader};
        let program = "import socket,sys\ns=socket.socket()\ns.bind(('127.0.0.1',0))\ns.listen()\n\
                       print(s.getsockname()[1],flush=True)\nsys.stdin.read()";
        #[expect(
            clippy::disallowed_methods,
            reason = "a program that runs beside the test"
        )]
        let mut command = std::process::Command::new("python3");
        let piped = std::process::Stdio::piped;
        let Ok(mut child) = command
            .args(["-c", program])
            .stdin(piped())
            .stdout(piped())
            .spawn()
        else {
            crate::linux::testing::skipped("python3 is not there");
            return;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let finding = probe(format!("127.0.0.1:{}", line.trim()).parse().unwrap());
        let pid = child.id();
        child.kill().unwrap();
        child.wait().unwrap();
        let Finding::Bad { found, .. } = finding else {
            panic!("{finding:?}")
        };
        assert!(found.contains(&format!("(process {pid})")), "{found}");
    }
}
