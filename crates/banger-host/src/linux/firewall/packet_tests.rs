//! What the rules let through, with real packets.

use std::net::UdpSocket;

use super::lab::*;
use crate::linux::testing::{in_own_network, run};

#[test]
fn a_guest_reaches_nothing_but_what_it_is_let_to() {
    in_own_network(|| {
        let lab = Lab::new();
        let others = [OUTSIDE, GUESTS[1].1, UPLINK, HOST, METADATA];
        for to in others {
            assert!(lab.guest_asks_in_vain(0, to), "without NAT, {to}");
        }
        assert_eq!(lab.nat(0, true), Change::Made);
        assert_eq!(lab.nat(0, true), Change::Already);
        assert_eq!(
            lab.guest_asks(0, OUTSIDE).as_deref(),
            Some("192.0.2.1"),
            "masqueraded"
        );
        for to in &others[1..] {
            assert!(lab.guest_asks_in_vain(0, *to), "with NAT, {to}");
        }
        assert!(
            lab.guest_asks_in_vain(1, OUTSIDE),
            "the other guest has none"
        );
        assert_eq!(lab.nat(1, true), Change::Made);
        assert!(
            lab.guest_asks_in_vain(0, GUESTS[1].1),
            "guests with NAT are still apart"
        );
        assert_eq!(lab.guest_asks(1, OUTSIDE).as_deref(), Some("192.0.2.1"));
    });
}

#[test]
fn a_guest_cannot_use_another_address() {
    in_own_network(|| {
        let lab = Lab::new();
        for address in [GUESTS[0].1, SPOOFED] {
            lab.firewall.allow_nat(TABLE, PREFIX, address).unwrap();
        }
        assert!(lab.guest_asks(0, OUTSIDE).is_some());
        assert!(lab.guests[0].run(|| asks_in_vain(SPOOFED, OUTSIDE)));
        // The address of the other guest, which is let out too.
        lab.nat(1, true);
        let other = GUESTS[1].1;
        assert!(lab.guests[0].run(move || {
            run("ip", &format!("address add {other}/32 dev eth0"));
            asks_in_vain(other, OUTSIDE)
        }));
    });
}

#[test]
fn the_host_reaches_a_guest_and_others_do_not() {
    in_own_network(|| {
        let lab = Lab::new();
        let guest = GUESTS[0].1;
        let who = ask_from(Ipv4Addr::UNSPECIFIED, guest);
        assert_eq!(who.as_deref(), Some("10.88.0.1"));
        let mut stream = connect(guest, PATIENCE).unwrap();
        assert!(answers(&mut stream));
        for nat in [false, true] {
            lab.nat(0, nat);
            let why = format!("NAT is a way out only, and here it is {nat}");
            assert!(
                lab.outside.run(move || asks_in_vain(OUTSIDE, guest)),
                "{why}"
            );
            assert!(
                lab.outside.run(move || connect(guest, SILENCE).is_none()),
                "{why}"
            );
        }
        assert!(
            lab.guests[0].run(|| pings(HOST)),
            "a guest may see whether its gateway is there"
        );
    });
}

#[test]
fn turning_nat_off_ends_what_is_under_way() {
    in_own_network(|| {
        let lab = Lab::new();
        lab.nat(0, true);
        let server = lab.outside.run(|| UdpSocket::bind((OUTSIDE, 9)).unwrap());
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let (client, mut stream) = lab.guests[0].run(|| {
            let client = UdpSocket::bind((GUESTS[0].1, 0)).unwrap();
            client.connect((OUTSIDE, 9)).unwrap();
            client.send(b"before").unwrap();
            (client, connect(OUTSIDE, PATIENCE).unwrap())
        });
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 64];
        let (_, seen_from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"answer", seen_from).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 6);
        assert!(answers(&mut stream));

        assert_eq!(lab.nat(0, false), Change::Made);
        assert_eq!(lab.nat(0, false), Change::Already);
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(SILENCE)).unwrap();
        }
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        client.send(b"after").unwrap();
        assert!(server.recv_from(&mut buffer).is_err(), "nothing goes out");
        server.send_to(b"answer", seen_from).unwrap();
        assert!(client.recv(&mut buffer).is_err(), "nothing comes in");
        assert!(!answers(&mut stream));
    });
}
