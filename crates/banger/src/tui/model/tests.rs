//! Cases of `update`: messages in, state and effects out.

use banger_api::{Change, Code, Error, Event, Phase, Snapshot, VmId, VmView};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::{SignedDuration, Timestamp};

use super::message::{Act, Answer, Effect, Job, Message, Program, Question, Source};
use super::*;
use crate::commands::vm::calm_otter;

const LOOK: Look = Look {
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

pub(super) fn three() -> Model {
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

fn selected(model: &Model) -> &str {
    model.vms.selected().map_or("", |vm| vm.name.as_str())
}

fn shown(model: &Model) -> Vec<&str> {
    let ids = model.vms.shown().iter();
    ids.filter_map(|id| Some(model.vms.get(*id)?.name.as_str()))
        .collect()
}

fn jobs(effects: &[Effect]) -> Vec<(&str, &Act)> {
    let jobs = effects.iter().filter_map(|effect| match effect {
        Effect::Work(job) => Some((job.name.as_str(), &job.act)),
        _ => None,
    });
    jobs.collect()
}

#[test]
fn the_cursor_is_on_a_vm_and_not_on_a_line() {
    // k9s#961: a dialog whose highlight lies.
    let mut model = three();
    types(&mut model, "jj");
    assert_eq!(selected(&model), "web");
    model.update(
        event(2, Change::Vm(Box::new(vm(9, "aaa", Phase::Running)))),
        now(),
    );
    assert_eq!(
        selected(&model),
        "web",
        "a VM that comes above does not move it"
    );
    let id = VmId::from_bits(3);
    let name = "web".parse().unwrap();
    model.update(event(3, Change::Deleted { id, name }), now());
    assert_eq!(selected(&model), "db", "it goes to the neighbour");
}

#[test]
fn a_verb_is_for_the_vm_under_the_cursor_or_for_those_that_are_marked() {
    let mut model = three();
    let effects = types(&mut model, "x");
    assert_eq!(jobs(&effects), [("api", &Act::Stop)]);
    let effects = types(&mut model, "ax");
    assert_eq!(
        jobs(&effects),
        [("api", &Act::Stop), ("web", &Act::Stop)],
        "db does not run"
    );
    let effects = types(&mut model, "s");
    assert_eq!(jobs(&effects), [("db", &Act::Start { rescue: false })]);
    assert_eq!(model.jobs, 4);
    types(&mut model, "<esc>");
    assert_eq!(model.vms.mark_count(), 0);
    assert_eq!(jobs(&types(&mut model, "s")), [], "it runs already");
    assert!(
        model
            .notices
            .standing(now())
            .unwrap()
            .line
            .contains("already")
    );
}

#[test]
fn nothing_is_deleted_by_enter_or_by_a_key_too_many() {
    // k9s#319: delete without a question; k9s#302, #824: a question nobody can answer.
    for keys in [
        "D<enter>",
        "D ",
        "DD",
        "Djjk",
        "Dx",
        "D<esc>",
        "Dn",
        "D<ctrl-c>",
    ] {
        let mut model = three();
        assert_eq!(jobs(&types(&mut model, keys)), [], "{keys}");
    }
    let mut model = three();
    let effects = types(&mut model, "Dy");
    assert_eq!(jobs(&effects), [("api", &Act::Delete { force: true })]);
    assert!(model.overlay.is_none());
}

#[test]
fn the_question_tells_what_goes_and_spares_what_is_protected() {
    let mut vms: Vec<_> = (1..=12)
        .map(|number| vm(number, &format!("vm-{number:02}"), Phase::Stopped))
        .collect();
    vms[0].spec.protected = true;
    vms[1].phase = Phase::Running;
    let mut model = model(vms);
    types(&mut model, "aD");
    let Some(Overlay::Question(question)) = &model.overlay else {
        panic!("it asks")
    };
    assert_eq!(question.title, "delete 11 VMs?");
    let text = question.lines.join("\n");
    assert!(
        text.contains("vm-02, running, 16G of work disk: is killed first"),
        "{text}"
    );
    assert!(
        text.contains("… and 3 more") && text.contains("vm-01 is protected, and stays"),
        "{text}"
    );
    let effects = types(&mut model, "y");
    assert_eq!(jobs(&effects).len(), 11);
    assert!(jobs(&effects).iter().all(|job| job.0 != "vm-01"));
}

#[test]
fn the_filter_works_as_it_is_typed() {
    let mut model = three();
    types(&mut model, "/we");
    assert_eq!(shown(&model), ["web"]);
    types(&mut model, "<bs><bs>running");
    assert_eq!(shown(&model), ["api", "web"]);
    types(&mut model, " !web<enter>");
    assert_eq!(shown(&model), ["api"]);
    assert_eq!(
        jobs(&types(&mut model, "ax")),
        [("api", &Act::Stop)],
        "what is hidden is not marked"
    );
    types(&mut model, "<esc><esc><esc>");
    assert_eq!(
        shown(&model).len(),
        3,
        "back goes from the marks to the filter"
    );
    types(&mut model, "/web<esc>");
    assert_eq!(shown(&model).len(), 3, "left, it filters nothing");
}

#[test]
fn stopped_vms_can_be_hidden() {
    // lazydocker#110.
    let mut model = three();
    types(&mut model, "h");
    assert_eq!(shown(&model), ["api", "web"]);
    let stopped = vm(3, "web", Phase::Stopped);
    model.update(event(2, Change::Vm(Box::new(stopped))), now());
    assert_eq!(shown(&model), ["api"]);
    types(&mut model, "h");
    assert_eq!(shown(&model), ["api", "db", "web"]);
}

#[test]
fn the_list_is_sorted_both_ways_by_each_column() {
    let mut model = three();
    types(&mut model, "o");
    assert_eq!(shown(&model), ["api", "web", "db"], "by phase");
    types(&mut model, "O");
    assert_eq!(shown(&model), ["db", "api", "web"]);
    types(&mut model, "Oooooooo");
    assert_eq!(shown(&model), ["api", "web", "db"]);
    assert_eq!(
        model.vms.sort,
        vms::Sort::Name.next(),
        "after the last column the first"
    );
}

#[test]
fn a_shell_opens_in_a_vm_that_runs() {
    // oxker#28, #46; dry#81: the first wish.
    let mut model = three();
    let words = ["vm", "ssh", "api"].map(str::to_owned).to_vec();
    assert_eq!(
        types(&mut model, "<enter>"),
        [Effect::Run(Program::Banger(words))]
    );
    assert_eq!(
        types(&mut model, "j<enter>")
            .iter()
            .filter(|it| matches!(it, Effect::Run(_)))
            .count(),
        0
    );
    assert!(
        model
            .notices
            .standing(now())
            .unwrap()
            .line
            .contains("start it first")
    );
    // After it, keys work as before: k9s#1123, #1699.
    model.update(Message::Returned(Ok(true)), now());
    types(&mut model, "j");
    assert_eq!(selected(&model), "web");
}

#[test]
fn a_form_judges_what_is_typed_at_once() {
    let mut model = three();
    types(&mut model, "n");
    let error = |model: &Model, at: usize| match &model.overlay {
        Some(Overlay::Form(form)) => form.fields[at].error.clone().unwrap_or_default(),
        _ => panic!("the form is open"),
    };
    types(&mut model, "api");
    assert!(error(&model, 0).contains("already"));
    types(&mut model, "-2");
    assert_eq!(error(&model, 0), "");
    types(&mut model, "<down><down>99");
    assert!(error(&model, 2).contains("1 to 64"));
    assert_eq!(
        jobs(&types(&mut model, "<enter>")),
        [],
        "what is wrong is not sent"
    );
    types(&mut model, "<bs><bs>4<down>2G<down>64X");
    assert!(error(&model, 4).contains("16G"));
    types(
        &mut model,
        "<bs><bs><bs>32G<down><down>team=web, a=b<down> ",
    );
    let effects = types(&mut model, "<enter>");
    let [(name, Act::Create(request))] = jobs(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((name, request.name.as_deref()), ("api-2", Some("api-2")));
    let json = serde_json::to_value(&request.spec).unwrap();
    assert_eq!(json["vcpu"], 4);
    assert_eq!(json["memory_mib"], 2048);
    assert_eq!(json["disk_size_mib"], 32 << 10);
    assert_eq!(json["nat"], true);
    assert_eq!(json["labels"]["add"]["team"], "web");
    assert!(
        json["system_disk_size_mib"].is_null(),
        "untouched is the default"
    );
    // The new VM is selected when it comes.
    model.update(
        event(2, Change::Vm(Box::new(vm(7, "api-2", Phase::Creating)))),
        now(),
    );
    assert_eq!(selected(&model), "api-2");
}

#[test]
fn settings_that_are_left_alone_are_not_sent() {
    let mut model = three();
    types(&mut model, "e");
    types(&mut model, "4<down><down>8G");
    let Some(Overlay::Form(form)) = &model.overlay else {
        panic!("the form is open")
    };
    assert!(
        form.fields[2]
            .error
            .as_ref()
            .unwrap()
            .contains("only grows")
    );
    let effects = types(&mut model, "<bs><bs><enter>");
    let [("api", Act::Set(patch))] = jobs(&effects)[..] else {
        panic!("{effects:?}")
    };
    let wanted = banger_api::VmSpecPatch {
        vcpu: Some(4),
        ..Default::default()
    };
    assert_eq!(patch, &wanted);
}

#[test]
fn a_setting_is_turned_for_all_that_are_meant() {
    let mut model = three();
    let effects = types(&mut model, "p");
    let [("api", Act::Set(patch))] = jobs(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(patch.protected, Some(true));
    let effects = types(&mut model, "at");
    assert!(
        jobs(&effects)
            .iter()
            .all(|it| matches!(it.1, Act::Set(patch) if patch.nat == Some(false)))
    );
}

#[test]
fn while_the_daemon_is_gone_nothing_is_sent_and_what_is_shown_stays() {
    let mut model = three();
    let error = Error::new(Code::NotReady, "the daemon has stopped");
    model.update(Message::Lost(error.clone()), now());
    let later = now() + SignedDuration::from_secs(9);
    model.update(Message::Lost(error), later);
    let Link::Lost { since, .. } = &model.link else {
        panic!("it is lost")
    };
    assert_eq!(*since, now(), "since the first time");
    assert_eq!(jobs(&types(&mut model, "xsr")), []);
    assert_eq!(shown(&model).len(), 3);
    assert_eq!(
        jobs(&types(&mut model, "W")),
        [("the daemon", &Act::StartDaemon)]
    );
    let job = Job {
        vm: None,
        name: "the daemon".to_owned(),
        act: Act::StartDaemon,
    };
    assert_eq!(
        model.update(Message::Ended(Box::new(job), Ok(())), now()),
        [Effect::Connect]
    );
}

#[test]
fn an_error_is_told_in_a_line_and_opens_whole() {
    let mut model = three();
    let error = Error::new(Code::Host, "start `api`")
        .cause("attach")
        .cause("no room")
        .hint("make room");
    let job = Job {
        vm: Some(VmId::from_bits(1)),
        name: "api".to_owned(),
        act: Act::Stop,
    };
    model.update(Message::Ended(Box::new(job), Err(error)), now());
    assert_eq!(
        model.notices.standing(now()).unwrap().line,
        "start `api`: no room"
    );
    types(&mut model, "!");
    assert!(matches!(model.overlay, Some(Overlay::Messages(0))));
    let effects = types(&mut model, "y");
    let [Effect::Copy(text)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(text.contains("hint: make room"));
}

#[test]
fn the_console_of_the_selected_vm_is_followed_and_no_other() {
    let mut model = three();
    let followed = |effects: &[Effect]| {
        effects
            .iter()
            .filter_map(|it| match it {
                Effect::Follow(source) => Some(*source),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let effects = types(&mut model, "l");
    let api = Source::Console(VmId::from_bits(1));
    assert_eq!(followed(&effects), [Some(api)]);
    model.update(Message::Piece(api, "hello\nworld\n".to_owned()), now());
    model.update(Message::Piece(Source::Daemon, "late\n".to_owned()), now());
    assert_eq!(
        model.text.count(),
        2,
        "a late piece of another is not shown"
    );
    // Search, copy: lazydocker#655, #167; oxker#63.
    let effects = types(&mut model, "/HELLO<enter>y");
    assert_eq!(effects, [Effect::Copy("hello".to_owned())]);
    // g G ctrl-u ctrl-d: lazydocker#286.
    types(&mut model, "G");
    assert!(model.text.is_following());
    types(&mut model, "g");
    assert!(!model.text.is_following());
    assert_eq!(
        types(&mut model, "Y"),
        [Effect::Copy("hello\nworld".to_owned())]
    );
    let effects = types(&mut model, "<esc><esc>j");
    assert_eq!(
        followed(&effects),
        [Some(Source::Console(VmId::from_bits(2)))]
    );
    let effects = types(&mut model, "[[[");
    assert_eq!(
        followed(&effects),
        [None],
        "what is not shown is not followed"
    );
}

#[test]
fn tabs_ask_once_when_they_are_opened_and_on_demand() {
    // lazydocker#249, #296, #115, #323: polling.
    let mut model = three();
    let asked = |effects: Vec<Effect>| {
        effects
            .into_iter()
            .filter_map(|it| match it {
                Effect::Ask(question) => Some(question),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(types(&mut model, "2")), [Question::Images]);
    for _ in 0..100 {
        assert_eq!(model.update(Message::Tick, now()), []);
    }
    assert_eq!(asked(types(&mut model, "4")), [Question::Doctor]);
    assert_eq!(asked(types(&mut model, "4")), []);
    let ctrl = KeyEvent::new(KeyCode::F(5), KeyModifiers::NONE);
    assert_eq!(
        asked(model.update(Message::Key(ctrl), now())),
        [Question::Doctor]
    );
}

#[test]
fn nothing_ticks_while_nothing_on_the_screen_changes_by_itself() {
    let mut model = model(vec![vm(1, "db", Phase::Stopped)]);
    assert_eq!(model.next_tick(), None);
    let running = vm(2, "web", Phase::Running);
    model.update(event(2, Change::Vm(Box::new(running))), now());
    assert_eq!(
        model.next_tick().unwrap().as_secs(),
        30,
        "an uptime in minutes"
    );
    types(&mut model, "c");
    assert_eq!(
        model.next_tick().unwrap().as_secs(),
        1,
        "a message is to go"
    );
}

#[test]
fn every_action_of_the_palette_does_no_harm_on_an_empty_screen() {
    for tab in ["1", "2", "3", "4"] {
        for binding in keys::BINDINGS {
            for link in [Link::Up, Link::Pending] {
                let mut model = model(Vec::new());
                model.link = link;
                types(&mut model, tab);
                types(&mut model, &format!(":{}", binding.name));
                let effects = types(&mut model, "<enter>");
                assert!(effects.len() < 4, "{}", binding.name);
            }
        }
    }
}

#[test]
fn copies_are_of_the_selected_vm() {
    let mut model = three();
    assert_eq!(
        types(&mut model, "y"),
        [Effect::Copy("10.215.0.1".to_owned())]
    );
    assert_eq!(
        types(&mut model, "Y"),
        [Effect::Copy("banger vm ssh api".to_owned())]
    );
    assert_eq!(types(&mut model, "c"), [Effect::Copy("api".to_owned())]);
    let effects = types(&mut model, "jy");
    assert!(
        effects.iter().all(|it| !matches!(it, Effect::Copy(_))),
        "it has no address"
    );
}

#[test]
fn what_is_shown_is_kept_for_the_next_run() {
    let mut model = three();
    types(&mut model, "/web<enter>oOhm]]]2");
    let kept = model.kept();
    let json = serde_json::to_string(&kept).unwrap();
    let again: Preferences = serde_json::from_str(&json).unwrap();
    assert_eq!(again, kept);
    let next = Model::new(now(), KeyTable::default(), LOOK, &again);
    assert_eq!(
        (next.tab, next.pane, next.mouse),
        (Tab::Images, Pane::Events, false)
    );
    assert_eq!(next.vms.filter(), "web");
    let partial: Preferences = serde_json::from_str(r#"{"filter": "x", "new": 1}"#).unwrap();
    assert_eq!(
        partial.filter, "x",
        "of another version, what is understood"
    );
}

#[test]
fn pasted_text_is_text_and_no_keys() {
    let mut model = three();
    assert_eq!(model.update(Message::Paste("Dy\nx".to_owned()), now()), []);
    assert!(model.overlay.is_none());
    types(&mut model, "/");
    model.update(Message::Paste("we\nb".to_owned()), now());
    assert_eq!(model.vms.filter(), "we");
}

#[test]
fn disks_are_asked_for_where_they_are_shown() {
    let mut model = three();
    let effects = types(&mut model, "j");
    assert_eq!(effects, [Effect::Ask(Question::Vm(VmId::from_bits(2)))]);
    let answer = Answer::Vm(
        VmId::from_bits(2),
        Ok(Box::new(vm(2, "db", Phase::Stopped))),
    );
    assert_eq!(model.update(Message::Answer(answer), now()), []);
    assert_eq!(types(&mut model, "]]]j"), [], "not for events");
}
