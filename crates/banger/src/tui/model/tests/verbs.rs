//! Verbs: what is asked first, and what is done.

use super::*;

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
fn a_shell_opens_in_a_vm_that_runs() {
    // oxker#28, #46; dry#81: the first wish.
    let mut model = three();
    let words = ["vm", "shell", "api"].map(str::to_owned).to_vec();
    assert_eq!(
        types(&mut model, "<enter>"),
        [Effect::Run(Program::Shell(words))]
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
    // Over the agent there is one before sshd listens.
    let booting = vm(2, "db", Phase::Starting);
    model.update(event(2, Change::Vm(Box::new(booting))), now());
    let run = |verb: &str| {
        let words = ["vm", verb, "db"].map(str::to_owned).to_vec();
        Effect::Run(match verb {
            "shell" => Program::Shell(words),
            _ => Program::Banger(words),
        })
    };
    assert_eq!(types(&mut model, "<enter>"), [run("shell")]);
    assert_eq!(types(&mut model, "i"), [run("console")]);
    assert_eq!(types(&mut model, "S"), [], "SSH has to wait");
    // After it, keys work as before: k9s#1123, #1699.
    model.update(Message::Returned(Ok(())), now());
    types(&mut model, "j");
    assert_eq!(selected(&model), "web");
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
fn every_action_of_the_palette_does_no_harm_on_an_empty_screen() {
    for tab in ["1", "2", "3", "4", "5", "6"] {
        for binding in keys::bindings() {
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
fn pasted_text_is_text_and_no_keys() {
    let mut model = three();
    assert_eq!(model.update(Message::Paste("Dy\nx".to_owned()), now()), []);
    assert!(model.overlay.is_none());
    types(&mut model, "/");
    model.update(Message::Paste("we\nb".to_owned()), now());
    assert_eq!(model.vms.filter(), "we");
}

#[test]
fn what_is_kept_is_deleted_after_a_question_only() {
    let mut model = three();
    let volume = |name: &str, users: &[&str]| banger_api::VolumeView {
        name: name.parse().unwrap(),
        size_bytes: 16 << 30,
        allocated_bytes: 0,
        users: users.iter().map(|it| it.parse().unwrap()).collect(),
    };
    types(&mut model, "5");
    let volumes = vec![volume("data", &[]), volume("home", &["web"])];
    model.update(Message::Answer(Answer::Volumes(Ok(volumes))), now());
    assert_eq!(jobs(&types(&mut model, "D<enter><esc>")), []);
    let effects = types(&mut model, "Dy");
    let words = ["volume", "delete", "data", "--yes"].map(str::to_owned);
    assert_eq!(jobs(&effects), [("data", &Act::Command(words.to_vec()))]);
    types(&mut model, "jD");
    assert!(model.overlay.is_none(), "a VM has it");
    types(&mut model, "6");
    let trash = vec![vm(8, "old", Phase::Stopped), vm(9, "older", Phase::Stopped)];
    model.update(Message::Answer(Answer::Trash(Ok(trash))), now());
    let effects = types(&mut model, "jDy");
    let words = ["vm", "purge", "00000009", "--yes"].map(str::to_owned);
    assert_eq!(jobs(&effects), [("older", &Act::Command(words.to_vec()))]);
    let effects = types(&mut model, "u<enter>");
    let words = ["vm", "undelete", "00000009"].map(str::to_owned);
    assert_eq!(jobs(&effects), [("older", &Act::Command(words.to_vec()))]);
}

#[test]
fn any_command_is_run_in_place_with_the_selected_vm() {
    let mut model = three();
    let effects = types(&mut model, ";banger vm cp 'a b' {}:/tmp<enter>");
    let words = ["vm", "cp", "a b", "api:/tmp"].map(str::to_owned).to_vec();
    assert_eq!(effects, [Effect::Run(Program::Shown(words))]);
    assert_eq!(
        types(&mut model, ";vm 'x<enter>"),
        [],
        "a quote without end"
    );
}

#[test]
fn a_command_is_for_the_vm_that_was_selected_when_it_was_opened() {
    let goes = |model: &mut Model| {
        let (id, name) = (VmId::from_bits(1), "api".parse().unwrap());
        model.update(event(2, Change::Deleted { id, name }), now());
        assert_eq!(selected(model), "db", "the cursor is on the neighbour");
    };
    let mut model = three();
    types(&mut model, ";vm delete {} --yes");
    let Some(Overlay::Form(form)) = &model.overlay else {
        panic!("the line is open")
    };
    assert_eq!(form.title, "a command; {} is api");
    goes(&mut model);
    let words = ["vm", "delete", "api", "--yes"].map(str::to_owned).to_vec();
    assert_eq!(
        types(&mut model, "<enter>"),
        [Effect::Run(Program::Shown(words))]
    );
    // The palette: a verb does nothing to another VM, and what is for no VM is done.
    for (keys, is_said) in [(":start", true), (":zoom", false)] {
        let mut model = three();
        types(&mut model, keys);
        goes(&mut model);
        assert_eq!(jobs(&types(&mut model, "<enter>")), []);
        let said = model.notices.standing(now()).map(|it| it.line.clone());
        let is_told = said.is_some_and(|it| it.contains("another one now"));
        assert_eq!((is_told, model.zoom), (is_said, !is_said), "{keys}");
    }
    let mut model = three();
    types(&mut model, " :stop");
    goes(&mut model);
    assert_eq!(jobs(&types(&mut model, "<enter>")), [], "the mark is gone");
}

#[test]
fn a_new_vm_is_selected_while_no_key_is_pressed() {
    let comes = |model: &mut Model| {
        let new = vm(7, "new", Phase::Creating);
        model.update(event(2, Change::Vm(Box::new(new))), now());
        selected(model).to_owned()
    };
    let mut model = three();
    types(&mut model, "nnew<enter>");
    assert_eq!(comes(&mut model), "new");
    let mut model = three();
    types(&mut model, "nnew<enter>j");
    assert_eq!(comes(&mut model), "db", "the user is at another one");
    let mut model = three();
    let effects = types(&mut model, "nnew<enter>");
    let [.., Effect::Work(job)] = &effects[..] else {
        panic!("{effects:?}")
    };
    let error = Error::new(Code::Host, "no room");
    model.update(Message::Ended(Box::new(job.clone()), Err(error)), now());
    assert_eq!(comes(&mut model), "api", "it is somebody else's");
}

#[test]
fn a_form_whose_verb_failed_opens_again_with_what_was_typed() {
    let mut model = three();
    let send = |model: &mut Model, keys: &str, outcome: Result<(), Error>| {
        let effects = types(model, keys);
        let [.., Effect::Work(job)] = &effects[..] else {
            panic!("{effects:?}")
        };
        let job = Box::new(job.clone());
        assert!(model.overlay.is_none(), "the form is sent");
        model.update(Message::Ended(job, outcome), now());
        assert!(model.overlay.is_none(), "nothing opens by itself");
    };
    let typed = |model: &mut Model, keys: &str| {
        types(model, keys);
        let Some(Overlay::Form(form)) = model.overlay.take() else {
            panic!("no form")
        };
        form.fields[0].input.value().to_owned()
    };
    let full = || Err(Error::new(Code::Host, "no room"));
    send(&mut model, "nnew<enter>", full());
    assert_eq!(
        typed(&mut model, "R"),
        "api",
        "another form is as it always is"
    );
    assert_eq!(typed(&mut model, "n"), "new");
    assert_eq!(typed(&mut model, "n"), "", "it was left");
    send(&mut model, "nnew<enter>", full());
    send(&mut model, "n<enter>", Ok(()));
    assert_eq!(typed(&mut model, "n"), "", "it was done");
}

#[test]
fn what_was_not_sent_is_not_lost_without_a_question() {
    let vms = (1..=50).map(|it| vm(it, &format!("vm-{it:02}"), Phase::Running));
    let mut model = model(vms.collect());
    let effects = types(&mut model, "aDy");
    let sent: Vec<Job> = effects
        .into_iter()
        .filter_map(|it| match it {
            Effect::Work(job) => Some(job),
            _ => None,
        })
        .collect();
    assert_eq!(sent.len(), 50);
    assert_eq!(types(&mut model, "q<enter>"), []);
    let Some(Overlay::Question(question)) = &model.overlay else {
        panic!("it asks")
    };
    assert!(question.lines[0].ends_with("2 commands"), "{question:?}");
    assert_eq!(types(&mut model, "<esc>"), []);
    assert_eq!(types(&mut model, "qy"), [Effect::Quit]);
    for job in &sent[..2] {
        model.update(Message::Ended(Box::new(job.clone()), Ok(())), now());
    }
    assert_eq!(types(&mut model, "q"), [Effect::Quit], "all are sent");
}

#[test]
fn commands_are_for_the_machine_whose_vms_these_are() {
    let mut model = three();
    model.host = Some("lab".to_owned());
    let copied = |text: &str| [Effect::Copy(text.to_owned())];
    assert_eq!(
        types(&mut model, "Y"),
        copied("banger --host lab vm ssh api")
    );
    let error = Error::new(Code::Invalid, "no").hint("start it: banger vm start api");
    model.update(Message::Note(error), now());
    let Effect::Copy(text) = &types(&mut model, "!y")[0] else {
        panic!("it is copied")
    };
    assert!(text.contains("banger --host lab vm start api"), "{text}");
    // What mends a check would change this machine.
    types(&mut model, "<esc>4");
    let check = banger_api::CheckReport {
        name: "QEMU".to_owned(),
        verdict: banger_api::Verdict::Fail,
        found: "it is not installed".to_owned(),
        hints: Vec::new(),
        fix: Some(banger_api::Fix::install(&["qemu-system-x86"])),
        section: None,
    };
    let report = banger_api::Report {
        checks: vec![check],
    };
    model.update(Message::Answer(Answer::Doctor(Ok(report))), now());
    types(&mut model, "F");
    assert!(model.overlay.is_none());
    let said = &model.notices.all().find(|it| it.tone == Tone::Warning);
    assert!(said.is_some_and(|it| it.line.contains("on `lab`")));
    model.host = None;
    types(&mut model, "F");
    assert!(model.overlay.is_some());
}
