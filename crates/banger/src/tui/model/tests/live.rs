//! What is pushed, what is asked, and what is followed.

use super::*;

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
    // space y: crush#513.
    assert_eq!(
        types(&mut model, "g jy"),
        [Effect::Copy("hello\nworld".to_owned())]
    );
    assert_eq!(types(&mut model, "gy"), [Effect::Copy("hello".to_owned())]);
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
fn a_console_that_has_ended_is_followed_again_when_its_vm_runs_again() {
    let mut model = three();
    let seq = &mut 1;
    let mut becomes = |model: &mut Model, number, name: &str, phase| {
        *seq += 1;
        let change = Change::Vm(Box::new(vm(number, name, phase)));
        let mut effects = model.update(event(*seq, change), now());
        effects.retain(|it| matches!(it, Effect::Follow(_)));
        effects
    };
    let db = VmId::from_bits(2);
    for (keys, source) in [("jl", Source::Console(db)), ("]", Source::Hypervisor(db))] {
        types(&mut model, keys);
        assert_eq!(model.source, Some(source));
        model.update(
            Message::Piece(source, "of its last run\n".to_owned()),
            now(),
        );
        model.update(Message::SourceEnded(source, None), now());
        assert_eq!(
            becomes(&mut model, 3, "web", Phase::Starting),
            [],
            "another VM"
        );
        assert_eq!(
            becomes(&mut model, 2, "db", Phase::Starting),
            [Effect::Follow(Some(source))]
        );
        assert_eq!((model.text.count(), &model.source_end), (0, &None));
        assert_eq!(
            becomes(&mut model, 2, "db", Phase::Running),
            [],
            "it is followed"
        );
        becomes(&mut model, 2, "db", Phase::Stopped);
        becomes(&mut model, 3, "web", Phase::Stopped);
    }
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
    assert_eq!(asked(types(&mut model, "5")), [Question::Volumes]);
    assert_eq!(asked(types(&mut model, "6")), [Question::Trash]);
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
    let seconds = |model: &Model| model.next_tick().map(|it| it.as_secs());
    let mut model = model(Vec::new());
    assert_eq!(seconds(&model), None, "there is nothing to see");
    let change = Change::Vm(Box::new(vm(1, "db", Phase::Stopped)));
    model.update(event(2, change), now());
    assert_eq!(seconds(&model), Some(30), "its age");
    for (keys, tick) in [
        ("2", Some(30)),
        ("3", Some(30)),
        ("4", None),
        ("5", None),
        ("6", Some(30)),
    ] {
        types(&mut model, keys);
        assert_eq!(seconds(&model), tick, "{keys}");
    }
    types(&mut model, "1");
    let mut running = vm(2, "web", Phase::Running);
    model.update(event(3, Change::Vm(Box::new(running.clone()))), now());
    assert_eq!(seconds(&model), Some(30), "an uptime in minutes");
    running.started = Some(now());
    model.update(event(4, Change::Vm(Box::new(running))), now());
    assert_eq!(seconds(&model), Some(1), "an uptime in seconds");
    types(&mut model, "4");
    assert_eq!(seconds(&model), None, "it is not seen");
    types(&mut model, "1");
    let old = vm(2, "web", Phase::Running);
    model.update(event(5, Change::Vm(Box::new(old))), now());
    types(&mut model, "c");
    assert_eq!(seconds(&model), Some(1), "a message is to go");
}

#[test]
fn of_vms_that_are_gone_nothing_is_kept() {
    use banger_api::{Operation, OperationState, Verb};
    let mut model = three();
    let operation = |id: u32, verb, state| {
        let operation = Operation {
            id: 7,
            verb,
            vm: Some(VmId::from_bits(id)),
            name: None,
            request: None,
            began: now(),
            state,
        };
        event(2, Change::Operation(operation))
    };
    // In the daemon's order: the VM is gone before its deletion is done.
    model.update(operation(1, Verb::Delete, OperationState::Began), now());
    let (id, name) = (VmId::from_bits(1), "api".parse().unwrap());
    model.update(event(3, Change::Deleted { id, name }), now());
    model.update(operation(1, Verb::Delete, OperationState::Done), now());
    // A build's VM is no VM of the list.
    model.update(operation(40, Verb::Build, OperationState::Done), now());
    assert_eq!(model.operations.last_count(), 0);
    for (id, verb) in [(2, Verb::Set), (3, Verb::Stop)] {
        model.update(operation(id, verb, OperationState::Done), now());
    }
    assert_eq!(model.operations.last_count(), 2);
    let snapshot = banger_api::Snapshot {
        vms: vec![vm(3, "web", Phase::Running)],
        ..Default::default()
    };
    model.update(event(9, Change::Snapshot(snapshot)), now());
    assert_eq!(model.operations.last_count(), 1, "web's");
}

#[test]
fn a_build_is_shown_as_it_goes_and_its_image_when_it_is_done() {
    use banger_api::{Operation, OperationState, Progress, Verb};
    let mut model = three();
    types(&mut model, "2");
    let build = |seq, state| {
        let operation = Operation {
            id: 7,
            verb: Verb::Build,
            vm: None,
            name: None,
            request: None,
            began: now(),
            state,
        };
        event(seq, Change::Operation(operation))
    };
    let step = Progress {
        step: "packages".to_owned(),
        seconds: None,
        bytes: None,
    };
    model.update(build(2, OperationState::Step(step)), now());
    let steps: Vec<_> = model.builds().filter_map(|it| it.step()).collect();
    assert_eq!(steps, ["packages"]);
    let effects = model.update(build(3, OperationState::Done), now());
    assert_eq!(effects, [Effect::Ask(Question::Images)]);
    types(&mut model, "1");
    let mut effects = model.update(build(4, OperationState::Done), now());
    effects.retain(|it| !matches!(it, Effect::Measure(_)));
    assert_eq!(
        effects,
        [Effect::Ask(Question::Images)],
        "in another tab, too"
    );
    assert_eq!(model.builds().count(), 0);
}
