//! A user who wants more of the host than her quota.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, chown};

use super::*;
use crate::cow::length_mib;
use crate::linux::testing::is_root;
use crate::root::message::ErrorLayer;
use crate::root::quota::{ELEMENTS, SNAPSHOTS, TAPS, jailed_users};
use crate::{Sim, SimSnapshot, SnapshotFiles};

fn machine(number: usize) -> MachineId {
    MachineId::from_bits(u32::try_from(number).unwrap())
}

fn address(number: usize) -> Ipv4Addr {
    let first = u32::from(claim().subnet.network);
    Ipv4Addr::from(first + 2 + u32::try_from(number).unwrap())
}

fn make_tap(number: usize) -> RootOp {
    RootOp::MakeTap(GuestTap {
        machine: machine(number),
        uid: USER,
        host_address: claim().host_address(),
        guest_address: address(number),
        mac: MAC,
        mtu: 1500,
    })
}

fn allow_nat(number: usize) -> RootOp {
    RootOp::AllowNat {
        address: address(number),
    }
}

/// The message of the refusal.
fn refused(reply: Option<Reply>) -> String {
    match reply {
        Some(Reply::Error(layers)) => {
            assert_eq!(layers[0].kind, Kind::Denied);
            let text = |it: &ErrorLayer| format!("{} {}", it.message, it.hints.join(" "));
            layers.iter().map(text).collect::<Vec<_>>().join(": ")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_user_has_taps_or_elements_beyond_the_quota() {
    if !is_root() {
        return;
    }
    let sim = Sim::new();
    let mut client = Client::greeted(&served(sim.clone()));
    sim.tamper(|state| {
        for number in 0..TAPS {
            let name = format!("bg10000{}", machine(number));
            state.taps.insert(name, another());
        }
    });
    for number in 0..TAPS {
        client.must(make_tap(number));
    }
    let text = refused(client.ask(&Request::Change(make_tap(TAPS))));
    assert!(
        text.contains(&format!("the quota of TAPs for one user is {TAPS}")),
        "{text}"
    );
    assert!(text.contains("banger vm list"), "{text}");
    assert_eq!(client.must(make_tap(0)), Change::Already, "what is there");
    client.must(RootOp::RemoveTap {
        machine: machine(0),
    });
    client.must(make_tap(TAPS));

    let all = |state: &mut crate::SimState| state.tables.entry(table()).or_default().nat.len();
    let before = sim.tamper(|state| all(state) + state.tables[&table()].guests.len());
    for number in before..ELEMENTS {
        client.must(allow_nat(number));
    }
    let text = refused(client.ask(&Request::Change(allow_nat(ELEMENTS))));
    assert!(text.contains("firewall elements"), "{text}");
    let guest = RootOp::AllowGuest {
        machine: MACHINE,
        address: address(ELEMENTS),
    };
    let text = refused(client.ask(&Request::Change(guest)));
    assert!(text.contains("firewall elements"), "{text}");
    assert_eq!(client.must(allow_nat(ELEMENTS - 1)), Change::Already);
}

/// A base and a store of the user, with a given header and length.
struct Files {
    base: File,
    store: File,
}

impl Files {
    fn new(folder: &std::path::Path) -> Self {
        let file = |name: &str, length: u64| {
            let path = folder.join(name);
            let mut options = File::options();
            let file = options.read(true).write(true).create_new(true).open(&path);
            let file = file.unwrap();
            file.set_len(length).unwrap();
            chown(&path, Some(USER), Some(USER)).unwrap();
            file
        };
        Self {
            base: file("base", 1 << 20),
            store: file("store", length_mib(16) << 20),
        }
    }

    /// Writes the header of a used store, with chunks of this many sectors.
    fn begin_with(&self, sectors: u32) {
        let words = [0x7041_6e53, 1, 1, sectors];
        let header: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        self.store.write_all_at(&header, 0).unwrap();
    }
}

fn ask(client: &mut Client, files: &Files) -> Option<Reply> {
    let request = Request::Change(RootOp::MakeSnapshot {
        machine: MACHINE,
        size_mib: 16,
        files: SnapshotFiles::default(),
    });
    let handed = [files.base.as_fd(), files.store.as_fd()];
    client.wire.say(&request, &handed).unwrap();
    client.hear()
}

#[test]
fn no_user_has_snapshots_or_memory_for_them_beyond_the_quota() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path());
    let sim = Sim::new();
    let mut client = Client::greeted(&served(sim.clone()));
    let made = Some(Reply::Changed(Change::Made));
    assert_eq!(ask(&mut client, &files), made);

    // The simulated host has 64 GiB; a quarter of that allows 8 TiB of store in chunks of 16 KiB.
    files.begin_with(8);
    files.store.set_len(3 << 40).unwrap();
    let text = refused(ask(&mut client, &files));
    assert!(text.contains("kernel memory"), "{text}");
    assert!(text.contains("is 16384 MiB"), "{text}");
    files.begin_with(32);
    assert_eq!(ask(&mut client, &files), made);

    let other = SimSnapshot {
        base: "/base".into(),
        cow: "/cow".into(),
        size_mib: 16,
        owner: None,
        given_up: false,
    };
    let fill = |prefix: &str| {
        let names = (0..SNAPSHOTS).map(|number| format!("{prefix}{}", machine(number)));
        let all = names.map(|name| (name, other.clone()));
        sim.tamper(|state| state.snapshots.extend(all));
    };
    fill("banger-1-0000-");
    assert_eq!(ask(&mut client, &files), made, "another user's");
    fill(&claim().instance().name_prefix());
    let text = refused(ask(&mut client, &files));
    assert!(
        text.contains(&format!(
            "the quota of snapshots for one user is {SNAPSHOTS}"
        )),
        "{text}"
    );
}

#[test]
fn jails_are_counted_by_their_users() {
    if !is_root() {
        return;
    }
    let range = claim().instance().users();
    let users = [range.start() + 1101, range.start() + 1102, range.end() + 1];
    let mut running = users.map(|uid| super::jailed::running(uid).0);
    let counted = jailed_users(&claim()).unwrap();
    for child in &mut running {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(counted.contains(&users[0]) && counted.contains(&users[1]));
    assert!(!counted.contains(&users[2]));
}
