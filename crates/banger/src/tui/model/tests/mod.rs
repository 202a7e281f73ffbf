//! Cases of `update`: messages in, state and effects out.

mod list;
mod live;
mod verbs;

use banger_api::{Change, Code, Error, Event, Phase, Snapshot, VmId, VmView};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::{SignedDuration, Timestamp};

use super::message::{Act, Answer, Effect, Job, Message, Program, Question, Source};
use super::*;
use crate::commands::vm::calm_otter;

pub(super) const LOOK: Look = Look {
    colour: true,
    unicode: true,
};

/// A moment that all cases share.
pub(crate) fn now() -> Timestamp {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

/// A VM with this number in its id.
pub(crate) fn vm(number: u32, name: &str, phase: Phase) -> VmView {
    let mut vm = calm_otter();
    vm.id = VmId::from_bits(number);
    vm.name = name.parse().unwrap();
    vm.dns_name = format!("{name}.vm");
    vm.phase = phase;
    vm.created = now() - SignedDuration::from_hours(50);
    vm.started = (phase == Phase::Running).then(|| now() - SignedDuration::from_mins(7));
    let running = phase == Phase::Running;
    vm.address = running.then(|| [10, 215, 0, u8::try_from(number % 250).unwrap()].into());
    vm.ssh = vm.ssh.filter(|_| running);
    vm
}

pub(super) fn event(seq: u64, change: Change) -> Message {
    Message::Event(Box::new(Event {
        seq,
        at: now(),
        change,
    }))
}

/// A daemon.
pub(crate) fn daemon() -> banger_api::DaemonView {
    banger_api::DaemonView {
        version: "0.1.0".to_owned(),
        pid: 1,
        mode: "direct".to_owned(),
        socket: String::new(),
        state: String::new(),
        config: String::new(),
        bundle: String::new(),
        bundle_reason: String::new(),
        dns: None,
        started: now(),
        vms: 0,
        running: 0,
        unexplained: Vec::new(),
        overrides: banger_api::configuration::Overrides::new(),
        log_level: banger_api::LogLevel::Info,
        trash: false,
    }
}

/// A model with these VMs, whose daemon answers.
pub(crate) fn model(vms: Vec<VmView>) -> Model {
    let mut model = Model::new(now(), KeyTable::default(), LOOK, &Preferences::default());
    model.link = Link::Up;
    let snapshot = Snapshot {
        vms,
        ..Snapshot::default()
    };
    model.update(event(1, Change::Snapshot(snapshot)), now());
    model
}

pub(crate) fn three() -> Model {
    model(vec![
        vm(1, "api", Phase::Running),
        vm(2, "db", Phase::Stopped),
        vm(3, "web", Phase::Running),
    ])
}

/// Types: letters as they are, `<enter>` and the like by name.
pub(crate) fn types(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut rest = keys;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|it| it.split_once('>'));
        let (code, modifiers, after) = match named {
            Some((name, after)) => {
                let (modifiers, name) = match name.strip_prefix("ctrl-") {
                    Some(name) => (KeyModifiers::CONTROL, name),
                    None => (KeyModifiers::NONE, name),
                };
                let code = match name {
                    "enter" => KeyCode::Enter,
                    "esc" => KeyCode::Esc,
                    "tab" => KeyCode::Tab,
                    "down" => KeyCode::Down,
                    "up" => KeyCode::Up,
                    "right" => KeyCode::Right,
                    "bs" => KeyCode::Backspace,
                    other => KeyCode::Char(other.chars().next().unwrap()),
                };
                (code, modifiers, after)
            }
            None => (
                KeyCode::Char(first),
                KeyModifiers::NONE,
                &rest[first.len_utf8()..],
            ),
        };
        effects.extend(model.update(Message::Key(KeyEvent::new(code, modifiers)), now()));
        rest = after;
    }
    // What is measured follows the screen, and has cases of its own.
    effects.retain(|it| !matches!(it, Effect::Measure(_)));
    effects
}

pub(super) fn selected(model: &Model) -> &str {
    model.vms.selected().map_or("", |vm| vm.name.as_str())
}

pub(super) fn shown(model: &Model) -> Vec<&str> {
    let ids = model.vms.shown().iter();
    ids.filter_map(|id| Some(model.vms.get(*id)?.name.as_str()))
        .collect()
}

pub(super) fn jobs(effects: &[Effect]) -> Vec<(&str, &Act)> {
    let jobs = effects.iter().filter_map(|effect| match effect {
        Effect::Work(job) => Some((job.name.as_str(), &job.act)),
        _ => None,
    });
    jobs.collect()
}
