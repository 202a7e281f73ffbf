//! What screens tell, in words.

use super::*;

#[test]
fn a_start_is_shown_step_by_step() {
    let mut model = some();
    types(&mut model, "j");
    let text = told(&drawn(&mut model, (80, 24)));
    for part in [
        "12.0 s so far",
        "12 ms  prepare network",
        "…  wait for guest",
        "start build-farm-1: wait for guest, 12s",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn held_forwards_are_shown_with_their_vm_and_with_its_ports() {
    use banger_api::{ForwardState, ForwardView};
    let forward = |listen: &str, state, reason: Option<&str>| ForwardView {
        listen: listen.parse().unwrap(),
        target: "80".parse().unwrap(),
        reverse: false,
        kept: true,
        state,
        reason: reason.map(str::to_owned),
    };
    let mut api = vm(1, "api", Phase::Running);
    api.forwards = vec![
        forward("127.0.0.1:8080", ForwardState::Listening, None),
        forward("127.0.0.1:8081", ForwardState::Failed, Some("in use")),
    ];
    let mut model = model(vec![api]);
    let text = told(&drawn(&mut model, (120, 30)));
    for line in [
        "forward 127.0.0.1:8080 → api:80, kept",
        "forward 127.0.0.1:8081 → api:80, kept (failed:",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    types(&mut model, "]]");
    let port = |from: &[&str]| banger_api::PortView {
        forwarded_from: from.iter().map(|it| it.parse().unwrap()).collect(),
        protocol: "tcp".to_owned(),
        address: [0, 0, 0, 0].into(),
        port: 80,
        pid: None,
        process: Some("nginx".to_owned()),
    };
    for from in [&["127.0.0.1:8080"][..], &[]] {
        let answer = Answer::Ports(banger_api::VmId::from_bits(1), Ok(vec![port(from)]));
        model.update(Message::Answer(answer), now());
        let text = told(&drawn(&mut model, (80, 30)));
        let is_shown = text.contains("FORWARDED FROM") && text.contains("127.0.0.1:8080");
        assert_eq!(is_shown, !from.is_empty(), "{text}");
    }
}

#[test]
fn the_disks_are_those_of_the_last_measurement() {
    let mut model = some();
    let text = |model: &mut Model| told(&drawn(model, (80, 30)));
    assert!(text(&mut model).contains("5G of 16G"));
    let mut stats = crate::usage::stats_at(20, 9300);
    stats.disks = vec![DiskView {
        name: "work".to_owned(),
        size_bytes: 16 << 30,
        allocated_bytes: 7 << 30,
        shared_bytes: None,
    }];
    let id = banger_api::VmId::from_bits(1);
    model.update(Message::Measured(id, Ok(Box::new(stats))), now());
    assert!(text(&mut model).contains("7G of 16G"));
}

#[test]
fn help_and_messages_are_read_to_their_ends_and_no_further() {
    for size in [(80, 24), (80, 130)] {
        let text = told(&drawn_after("?G", size));
        assert!(text.contains("quit; VMs"), "{size:?}: {text}");
        let text = told(&drawn_after("?Gkk", size));
        assert_eq!(text.contains("quit; VMs"), size.1 == 130, "{text}");
    }
    let mut model = some();
    let error = Error::new(Code::Host, "begin").cause(format!("{}the-end", "word ".repeat(400)));
    model.update(Message::Note(error), now());
    types(&mut model, "!G");
    let text = told(&drawn(&mut model, (80, 24)));
    let last = text.lines().nth(21).unwrap();
    assert!(last.contains("the-end"), "it is in the last line: {text}");
    let mut model = some();
    model.update(Message::Note(Error::new(Code::Host, "no room")), now());
    types(&mut model, "!Gjjj");
    let text = told(&drawn(&mut model, (80, 24)));
    assert!(text.lines().nth(2).unwrap().contains("no room"), "{text}");
}

#[test]
fn a_daemon_that_is_gone_is_told() {
    let mut model = some();
    let error = Error::new(Code::NotReady, "the daemon has stopped");
    model.update(Message::Lost(error), now() - SignedDuration::from_secs(9));
    assert!(matches!(model.link, Link::Lost { .. }));
    let text = told(&drawn(&mut model, (80, 24)));
    assert!(text.contains("daemon gone since 9s"), "{text}");
    assert!(text.contains("W starts it"), "{text}");
    assert!(
        text.contains("build-farm-1"),
        "what was known stays: {text}"
    );
    // What comes of a key is told all the same.
    types(&mut model, "s");
    let text = told(&drawn(&mut model, (80, 24)));
    assert!(text.contains("nothing can be done now"), "{text}");
    let job = Job {
        vm: None,
        name: "the daemon".to_owned(),
        act: Act::StartDaemon,
    };
    let error = Error::new(Code::Host, "start the daemon").cause("no room");
    model.update(Message::Ended(Box::new(job), Err(error)), now());
    let text = told(&drawn(&mut model, (80, 24)));
    assert!(text.contains("start the daemon: no room"), "{text}");
    assert!(text.contains("daemon gone since"), "{text}");
}

#[test]
fn whose_vms_these_are_is_told() {
    for (host, width, text) in [
        ("lab", 80, " lab: 2 of 4 running"),
        ("ada@server", 80, " ada@server: 2/4"),
        ("ada@server", 120, " ada@server: 2 of 4 running"),
    ] {
        let mut model = some();
        model.host = Some(host.to_owned());
        let screen = told(&drawn(&mut model, (width, 24)));
        assert!(screen.lines().next().unwrap().ends_with(text), "{screen}");
        let error = Error::new(Code::NotReady, "it is gone");
        model.update(Message::Lost(error), now());
        let screen = told(&drawn(&mut model, (120, 24)));
        let gone = format!("{host}: daemon gone since");
        assert!(screen.contains(&gone), "{screen}");
    }
    let mut api = vm(1, "api", Phase::Running);
    api.notes = vec!["no NAT: banger vm set api --nat".to_owned()];
    let mut model = model(vec![api]);
    model.host = Some("lab".to_owned());
    let screen = told(&drawn(&mut model, (160, 30)));
    assert!(screen.contains("banger --host lab vm set"), "{screen}");
}

#[test]
fn a_list_without_vms_tells_what_hides_them() {
    for (keys, text) in [
        ("/zzz<enter>", "no VM matches; esc clears the filter"),
        ("h/db<enter>", "clears the filter; h shows stopped VMs"),
    ] {
        let text_on_screen = told(&drawn_after(keys, (80, 24)));
        assert!(text_on_screen.contains(text), "{text_on_screen}");
    }
    let mut model = model(vec![vm(3, "db", Phase::Stopped)]);
    types(&mut model, "h");
    let text = told(&drawn(&mut model, (80, 24)));
    assert!(text.contains("no VM runs; h shows stopped VMs"), "{text}");
}

#[test]
fn what_becomes_of_a_deleted_vm_is_told_as_it_is_now() {
    let mut model = some();
    let effects = types(&mut model, "jD");
    let asks = Effect::Ask(crate::tui::model::message::Question::Daemon);
    assert!(effects.contains(&asks), "{effects:?}");
    let told = |model: &mut Model| told(&drawn(model, (80, 24)));
    assert!(told(&mut model).contains("unless there is a trash"));
    for (trash, text) in [(true, "goes to the trash"), (false, "deleted permanently.")] {
        let daemon = banger_api::DaemonView {
            trash,
            ..crate::tui::model::tests::daemon()
        };
        let answer = Answer::Daemon(Ok(Box::new(daemon)));
        model.update(Message::Answer(answer), now());
        assert!(told(&mut model).contains(text), "{text}");
    }
}

#[test]
fn a_guests_words_do_no_harm() {
    let mut evil = vm(1, "api", Phase::Running);
    evil.notes.push("\u{1b}[2J\u{202e}evil".to_owned());
    evil.image = "x\u{9b}31m\n".to_owned();
    let mut model = model(vec![evil]);
    let buffer = drawn(&mut model, (120, 32));
    let harmful =
        |cell: &ratatui::buffer::Cell| cell.symbol().chars().any(banger_api::harmless::is_harmful);
    assert!(!buffer.content.iter().any(harmful));
}

#[test]
fn a_thousand_vms_are_drawn_by_their_rows_only() {
    let vms = (1..=1000)
        .map(|number| vm(number, &format!("vm-{number:04}"), Phase::Running))
        .collect();
    let mut model = model(vms);
    types(&mut model, "G");
    let text = told(&drawn(&mut model, (80, 24)));
    assert!(
        text.contains("1000 VMs") && text.contains("vm-1000") && !text.contains("vm-0990"),
        "{text}"
    );
    types(&mut model, "g");
    assert!(told(&drawn(&mut model, (80, 24))).contains("vm-0001"));
}

#[test]
fn a_long_note_continues_below_its_beginning_and_hides_nothing() {
    let mut api = vm(1, "api", Phase::Running);
    api.notes =
        vec!["it has no network access beyond this host, and long words about it".to_owned(); 4];
    let mut model = model(vec![api]);
    is_measured(&mut model);
    let text = told(&drawn(&mut model, (120, 35)));
    let begins = |line: &str| line.contains("note it has no network");
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| begins(line)).unwrap();
    let column = |line: &str, part: &str| {
        line.chars().count()
            - line.split(part).nth(1).unwrap().chars().count()
            - part.chars().count()
    };
    let (begin, rest) = (lines[first], lines[first + 1]);
    let word = rest
        .rsplit('│')
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    assert_eq!(column(rest, word), column(begin, "it has no"), "{text}");
    assert!(text.contains("id 00000001"), "{text}");
}
