use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::linux::testing::{in_own_network, run};
use crate::linux::{Linux, tap};
use crate::{GuestTap, Host as _, Instance, MacAddress, MachineId, Op, RootOp};

/// The length of virtio's header before each frame, which is all zeros for a complete frame.
const HEADER: usize = 10;

fn guest() -> GuestTap {
    GuestTap {
        machine: MachineId::from_bits(10),
        uid: 0,
        host_address: [10, 88, 0, 1].into(),
        guest_address: [10, 88, 0, 7].into(),
        mac: MacAddress::from_bits(0x00c0_ffee),
        mtu: 1500,
    }
}

/// The open TAP, once its carrier is up: until then the kernel drops the frames for it.
fn open_with_carrier() -> File {
    let file = tap::open("bg100ab0000000a").unwrap().into();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !run("ip", "link show dev bg100ab0000000a").contains("state UP") {
        assert!(Instant::now() < deadline, "the TAP has no carrier");
        std::thread::yield_now();
    }
    file
}

fn make() {
    let op = Op::Root(Instance::of_digits(0x00ab), RootOp::MakeTap(guest()));
    Linux::new().unwrap().change(&op).unwrap();
}

/// The next frame that the host sends to the guest, without virtio's header.
fn next_frame(tap: &mut File) -> Vec<u8> {
    let mut bytes = vec![0; 2048];
    let length = tap.read(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes.split_off(HEADER)
}

#[test]
fn the_first_packet_goes_to_the_guest_and_no_arp_message_precedes_it() {
    in_own_network(|| {
        make();
        let mut open = open_with_carrier();
        let address = SocketAddr::from((guest().guest_address, 22));
        // Nobody answers: the test is about what is sent.
        let moment = Duration::from_millis(20);
        drop(TcpStream::connect_timeout(&address, moment));
        let frame = next_frame(&mut open);
        assert_eq!(frame[..6], guest().mac.octets(), "{frame:02x?}");
        assert_eq!(frame[12..14], [0x08, 0x00], "an IPv4 packet: {frame:02x?}");
    });
}

#[test]
fn an_arp_message_of_the_guest_changes_no_entry() {
    in_own_network(|| {
        make();
        let mut open = open_with_carrier();
        let listed = || run("ip", "neigh show dev bg100ab0000000a nud all");
        let before = listed();
        let other = [2, 0xba, 0, 0, 0, 1];
        let sender = [10, 88, 0, 7];
        // A gratuitous ARP broadcast that moves the guest's address to another MAC.
        let frame = [
            &[0; HEADER][..],
            &[0xff; 6],
            &other,
            &[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 2],
            &other,
            &sender,
            &other,
            &sender,
        ];
        open.write_all(&frame.concat()).unwrap();
        // An ARP request, whose answer shows that the message before it has been processed.
        let question = [
            &[0; HEADER][..],
            &[0xff; 6],
            &other,
            &[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1],
            &other,
            &sender,
            &[0; 6],
            &[10, 88, 0, 1],
        ];
        open.write_all(&question.concat()).unwrap();
        let answer = next_frame(&mut open);
        assert_eq!(answer[12..14], [0x08, 0x06], "an answer: {answer:02x?}");
        assert_eq!(listed(), before);
    });
}
