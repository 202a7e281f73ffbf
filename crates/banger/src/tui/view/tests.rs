//! Screens as they are drawn, with their styles, at three sizes.

use banger_api::{
    CheckReport, Code, DiskView, Error, Fix, Mib, OperationState, Phase, Progress, Verb, Verdict,
};
use jiff::SignedDuration;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

mod told;

use super::draw;
use crate::tui::model::message::{Act, Answer, Effect, Job, Message};
use crate::tui::model::tests::{model, now, types, vm};
use crate::tui::model::{Link, Look, Model};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 32), (200, 50)];

fn drawn(model: &mut Model, size: (u16, u16)) -> Buffer {
    model.update(Message::Size(size.0, size.1), now());
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal
        .draw(|frame| {
            draw(model, frame);
        })
        .unwrap();
    terminal.backend().buffer().clone()
}

/// The text, and below it each row's runs of cells that have a style.
fn told(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut text = String::new();
    let mut styles = String::new();
    for y in 0..area.height {
        let mut line = String::new();
        let mut runs: Vec<(u16, u16, String)> = Vec::new();
        for x in 0..area.width {
            let cell = &buffer[(x, y)];
            line += cell.symbol();
            let style = style_of(cell.fg, cell.modifier);
            match runs.last_mut() {
                Some(run) if run.2 == style && run.1 + 1 == x => run.1 = x,
                _ => runs.push((x, x, style)),
            }
        }
        text += line.trim_end();
        text.push('\n');
        let runs: Vec<_> = runs
            .iter()
            .filter(|it| !it.2.is_empty())
            .map(|(from, to, style)| format!("{from}-{to} {style}"))
            .collect();
        if !runs.is_empty() {
            styles += &format!("{y}: {}\n", runs.join(", "));
        }
    }
    format!("{text}\n{styles}")
}

fn style_of(colour: Color, modifier: Modifier) -> String {
    let mut words = Vec::new();
    if colour != Color::Reset {
        words.push(colour.to_string().to_lowercase());
    }
    for (flag, word) in [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::REVERSED, "reversed"),
        (Modifier::UNDERLINED, "underlined"),
    ] {
        words.extend(modifier.contains(flag).then(|| word.to_owned()));
    }
    words.join("+")
}

/// VMs of every kind, and one that starts.
fn some() -> Model {
    let mut vms = vec![
        vm(1, "api", Phase::Running),
        vm(2, "build-farm-1", Phase::Starting),
        vm(3, "db", Phase::Stopped),
        vm(4, "web", Phase::Running),
    ];
    vms[0]
        .spec
        .labels
        .insert("team".to_owned(), "web".to_owned());
    vms[0].spec.protected = true;
    vms[0].notes.push("the host has no way out".to_owned());
    vms[0].pending = Some(banger_api::VmSpec {
        memory: Mib(4096),
        ..vms[0].spec.clone()
    });
    vms[3].paused = true;
    let mut model = model(vms);
    starts(&mut model);
    is_measured(&mut model);
    is_asked(&mut model);
    model
}

/// A VM is started, and has come to its second step.
fn starts(model: &mut Model) {
    let id = banger_api::VmId::from_bits(2);
    let began = now() - SignedDuration::from_secs(12);
    for (seq, state) in [
        OperationState::Step(Progress {
            step: "prepare network".to_owned(),
            seconds: Some(0.012),
            bytes: None,
        }),
        OperationState::Step(Progress {
            step: "wait for guest".to_owned(),
            seconds: None,
            bytes: None,
        }),
    ]
    .into_iter()
    .enumerate()
    {
        let operation = banger_api::Operation {
            id: 7,
            verb: Verb::Start,
            vm: Some(id),
            name: Some("build-farm-1".parse().unwrap()),
            request: None,
            began,
            state,
        };
        let change = banger_api::Change::Operation(operation);
        let event = banger_api::Event {
            seq: seq as u64 + 2,
            at: now(),
            change,
        };
        model.update(Message::Event(Box::new(event)), now());
    }
}

/// What a VM uses was measured for ten seconds.
fn is_measured(model: &mut Model) {
    for (second, millis) in [
        (0, 0),
        (2, 800),
        (4, 2400),
        (6, 5200),
        (8, 6000),
        (10, 9200),
    ] {
        let stats = crate::usage::stats_at(second, millis);
        let message = Message::Measured(banger_api::VmId::from_bits(1), Ok(Box::new(stats)));
        model.update(message, now());
    }
}

/// Its ports and its disks were answered.
fn is_asked(model: &mut Model) {
    let port = |port, process: Option<&str>| banger_api::PortView {
        forwarded_from: Vec::new(),
        protocol: "tcp".to_owned(),
        address: [0, 0, 0, 0].into(),
        port,
        pid: process.map(|_| 412),
        process: process.map(str::to_owned),
    };
    types(model, "]]");
    let ports = vec![
        port(22, Some("sshd")),
        port(8080, Some("node")),
        port(9, None),
    ];
    let answer = Answer::Ports(banger_api::VmId::from_bits(1), Ok(ports));
    model.update(Message::Answer(answer), now());
    types(model, "[[");
    let mut api = vm(1, "api", Phase::Running);
    api.disks = vec![DiskView {
        name: "work".to_owned(),
        size_bytes: 16 << 30,
        allocated_bytes: 5 << 30,
        shared_bytes: None,
    }];
    model.update(
        Message::Answer(Answer::Vm(api.id, Ok(Box::new(api)))),
        now(),
    );
}

#[test]
fn the_list_at_three_sizes() {
    for (width, height) in SIZES {
        let buffer = drawn(&mut some(), (width, height));
        insta::assert_snapshot!(format!("list-{width}x{height}"), told(&buffer));
    }
}

#[test]
fn the_graphs_at_three_sizes() {
    for (width, height) in SIZES {
        let buffer = drawn_after("]", (width, height));
        insta::assert_snapshot!(format!("usage-{width}x{height}"), told(&buffer));
    }
}

#[test]
fn the_ports_with_their_processes() {
    let buffer = drawn_after("]]<tab>j", (80, 24));
    insta::assert_snapshot!("ports-80x24", told(&buffer));
}

/// Images of which one is being built, volumes, and a VM in the trash.
fn kept(tab: &str) -> Model {
    let mut model = some();
    types(&mut model, tab);
    let volume = banger_api::VolumeView {
        name: "data".parse().unwrap(),
        size_bytes: 16 << 30,
        allocated_bytes: 3 << 30,
        users: vec!["api".parse().unwrap(), "web".parse().unwrap()],
    };
    let image = banger_api::ImageView {
        name: "default".parse().unwrap(),
        is_default: true,
        origin: "the bundle".to_owned(),
        digest: String::new(),
        kernel: String::new(),
        size_bytes: 4 << 30,
        allocated_bytes: 900 << 20,
        created: None,
        users: Vec::new(),
    };
    let mut gone = vm(9, "gone", Phase::Stopped);
    gone.deleted = Some(now() - SignedDuration::from_hours(5));
    for answer in [
        Answer::Volumes(Ok(vec![volume])),
        Answer::Images(Ok(vec![image])),
        Answer::Trash(Ok(vec![gone])),
    ] {
        model.update(Message::Answer(answer), now());
    }
    for (number, (step, seconds)) in [("boot", Some(7.5)), ("install packages", None)]
        .into_iter()
        .enumerate()
    {
        let progress = Progress {
            step: step.to_owned(),
            seconds,
            bytes: None,
        };
        let operation = banger_api::Operation {
            id: 8,
            verb: Verb::Build,
            vm: Some(banger_api::VmId::from_bits(40)),
            name: Some("build-dev".parse().unwrap()),
            request: None,
            began: now() - SignedDuration::from_mins(3),
            state: OperationState::Step(progress),
        };
        let event = banger_api::Event {
            seq: number as u64 + 9,
            at: now(),
            change: banger_api::Change::Operation(operation),
        };
        model.update(Message::Event(Box::new(event)), now());
    }
    model
}

#[test]
fn what_is_kept_at_three_sizes() {
    for (tab, name) in [("2", "images"), ("5", "volumes"), ("6", "trash")] {
        for (width, height) in SIZES {
            let buffer = drawn(&mut kept(tab), (width, height));
            insta::assert_snapshot!(format!("{name}-{width}x{height}"), told(&buffer));
        }
    }
}

#[test]
fn what_lies_over_the_list() {
    for (name, keys) in [
        ("delete", "aD"),
        ("create", "nWeb"),
        ("clone", "jjfcopy"),
        ("build", "2bdev"),
        ("command", ";vm cp"),
        ("help", "?"),
        ("palette", ":sto"),
        ("filter", "/we"),
    ] {
        let buffer = drawn_after(keys, (80, 24));
        insta::assert_snapshot!(format!("{name}-80x24"), told(&buffer));
    }
}

fn drawn_after(keys: &str, size: (u16, u16)) -> Buffer {
    let mut model = some();
    model.update(Message::Size(size.0, size.1), now());
    types(&mut model, keys);
    drawn(&mut model, size)
}

#[test]
fn the_checks_with_their_fixes() {
    let mut model = some();
    types(&mut model, "4");
    let check = CheckReport {
        name: "QEMU".to_owned(),
        verdict: Verdict::Fail,
        found: "it is not installed".to_owned(),
        hints: vec!["sudo apt-get install qemu-system-x86".to_owned()],
        fix: Some(Fix::install(&["qemu-system-x86"])),
        section: None,
    };
    let report = banger_api::Report {
        checks: vec![check],
    };
    model.update(Message::Answer(Answer::Doctor(Ok(report))), now());
    let buffer = drawn(&mut model, (120, 32));
    insta::assert_snapshot!("doctor-120x32", told(&buffer));
}

/// Every screen there is, by the keys that lead to it.
const SCREENS: [&str; 28] = [
    "", "j", "jjj", "]", "]]", "]]]", "]]]]", "]]]]]", "l", "z", "2", "2b", "3", "4", "5", "5n",
    "6", "jjf", "jjE", "I", ";", "aD", "n", "e", "R", "?", "!", ":",
];

#[test]
fn no_screen_has_a_background_or_a_picture_of_its_own() {
    // yazi#149, gitui#799, bluetui#10, ghcup#297: illegible on light backgrounds. k9s#991: pictures.
    for keys in SCREENS {
        let buffer = drawn_after(keys, (120, 32));
        for cell in &buffer.content {
            assert_eq!(cell.bg, Color::Reset, "{keys}");
            let sixteen = !matches!(
                cell.fg,
                Color::Rgb(..) | Color::Indexed(_) | Color::Black | Color::White | Color::Blue
            );
            assert!(sixteen, "{keys}: {}", cell.fg);
            for symbol in cell.symbol().chars() {
                let is_text = (symbol as u32) < 0x2600;
                assert!(is_text, "{keys}: {symbol:?}");
            }
        }
    }
}

#[test]
fn without_colours_and_without_unicode_all_is_told_all_the_same() {
    for keys in SCREENS {
        let mut model = some();
        let mut greek = vm(9, "greek", Phase::Running);
        greek.notes.push("the guest says καλημέρα".to_owned());
        let event = banger_api::Event {
            seq: 9,
            at: now(),
            change: banger_api::Change::Vm(Box::new(greek)),
        };
        model.update(Message::Event(Box::new(event)), now());
        model.look = Look {
            colour: false,
            unicode: false,
        };
        types(&mut model, keys);
        let buffer = drawn(&mut model, (80, 24));
        for cell in &buffer.content {
            assert_eq!(cell.fg, Color::Reset, "{keys}");
            assert!(cell.symbol().is_ascii(), "{keys}: {:?}", cell.symbol());
        }
    }
    let mut model = some();
    model.look = Look {
        colour: false,
        unicode: false,
    };
    let reversed = drawn(&mut model, (80, 24))
        .content
        .iter()
        .filter(|it| it.modifier.contains(Modifier::REVERSED))
        .count();
    assert!(reversed > 60, "the cursor is seen: {reversed}");
}

#[test]
fn every_screen_is_drawn_at_every_size() {
    for keys in SCREENS {
        for width in [0, 1, 3, 20, 81, 120, 250] {
            for height in [0, 1, 2, 4, 9, 23, 70] {
                drawn_after(keys, (width, height));
            }
        }
    }
}
