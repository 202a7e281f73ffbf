//! Forms, as they are typed.

use crate::tui::model::Model;
use crate::tui::model::dialog::Overlay;
use crate::tui::model::message::{Act, Answer, Defaults, Effect, Message, Question};
use crate::tui::model::tests::{event, jobs, now, selected, three, types, vm};
use banger_api::{Change, Code, Error, Phase};

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

/// The words of the command that the keys lead to.
fn command(model: &mut Model, keys: &str) -> Vec<String> {
    let effects = types(model, keys);
    let [(_, Act::Command(words))] = jobs(&effects)[..] else {
        panic!("{effects:?}")
    };
    words.clone()
}

#[test]
fn a_form_becomes_the_command_of_its_verb() {
    let mut model = three();
    types(&mut model, "f");
    assert!(model.overlay.is_none(), "api runs");
    types(&mut model, "j");
    for (keys, words) in [
        (
            "fcopy<down><down>4G<enter>",
            "vm clone 00000002 copy --memory=4G",
        ),
        ("E<enter>", "vm export 00000002 ~/db.banger"),
        ("E<down> <enter>", "vm export 00000002 ~/db.banger --force"),
        ("I/srv/a<down>new<enter>", "vm import /srv/a --name=new"),
    ] {
        assert_eq!(command(&mut model, keys).join(" "), words);
    }
    types(&mut model, "2");
    for (keys, words) in [
        ("bdev<enter>", "image build --name=dev"),
        (
            "bdev<down><down>~/r.toml<down><down>8G<down> <enter>",
            "image build --name=dev --recipe=~/r.toml --size=8G --docker",
        ),
        (
            "I/srv/a.ext4<down>a<enter>",
            "image import /srv/a.ext4 --name=a",
        ),
    ] {
        assert_eq!(command(&mut model, keys).join(" "), words);
    }
    types(&mut model, "5");
    let words = command(&mut model, "ndata<down>1G<enter>");
    assert_eq!(words, ["volume", "create", "data", "--size=1G"]);
}

#[test]
fn what_a_command_needs_has_to_be_typed() {
    let mut model = three();
    for keys in [
        "2b<enter>",
        "2bdefault<enter>",
        "1jfweb<enter>",
        "5n<down>1G<enter>",
        ";<enter>",
    ] {
        assert!(jobs(&types(&mut model, keys)).is_empty(), "{keys}");
        assert!(model.overlay.is_some(), "{keys}: it says what is wrong");
        types(&mut model, "<esc>1<esc>g");
    }
}

#[test]
fn volumes_that_are_left_alone_are_not_sent() {
    let mut web = vm(1, "web", Phase::Stopped);
    let volumes = [("data", "/srv"), ("home", "/home")];
    web.spec.volumes = volumes
        .map(|(name, path)| (name.parse().unwrap(), path.to_owned()))
        .into();
    let mut model = crate::tui::model::tests::model(vec![web]);
    // From the last field, back over `, home:/home`.
    let effects = types(
        &mut model,
        "e<up><bs><bs><bs><bs><bs><bs><bs><bs><bs><bs>x:/x<enter>",
    );
    let [(_, Act::Set(patch))] = jobs(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(patch.volumes.remove, ["home"]);
    let added: Vec<_> = patch.volumes.add.iter().collect();
    assert_eq!(added.len(), 1);
    assert_eq!((added[0].0.as_str(), added[0].1.as_str()), ("x", "/x"));
}

/// What is wrong with the open form.
fn error(model: &Model) -> Option<String> {
    match &model.overlay {
        Some(Overlay::Form(form)) => form.fields.iter().find_map(|it| it.error.clone()),
        _ => panic!("the form is open"),
    }
}

#[test]
fn a_form_is_judged_by_what_there_is_now() {
    let image = |name: &str| banger_api::ImageView {
        name: name.parse().unwrap(),
        is_default: false,
        origin: String::new(),
        digest: String::new(),
        kernel: String::new(),
        size_bytes: 0,
        allocated_bytes: 0,
        created: None,
        users: Vec::new(),
    };
    let answer = |model: &mut Model, answer| model.update(Message::Answer(answer), now());
    let mut model = three();
    answer(&mut model, Answer::Images(Ok(vec![image("default")])));
    let asked = [Question::Images, Question::Volumes, Question::Defaults].map(Effect::Ask);
    assert_eq!(types(&mut model, "n"), asked);
    types(&mut model, "new<down>dev");
    assert_eq!(error(&model).unwrap(), "there is no image `dev`");
    // It was built elsewhere meanwhile, and the default memory was changed.
    answer(&mut model, Answer::Images(Ok(vec![image("dev")])));
    assert_eq!(error(&model), None);
    let defaults = Defaults {
        memory: "3G".to_owned(),
        ..Defaults::default()
    };
    answer(&mut model, Answer::Defaults(defaults));
    let Some(Overlay::Form(form)) = &model.overlay else {
        panic!("the form is open")
    };
    assert_eq!(form.fields[3].default, "3G");
    assert_eq!(jobs(&types(&mut model, "<enter>")).len(), 1);
    // Without a daemon nothing is asked, and an answer opens nothing.
    types(&mut model, "<esc>");
    answer(&mut model, Answer::Images(Ok(Vec::new())));
    assert!(model.overlay.is_none());
    let error = Error::new(Code::NotReady, "it is gone");
    model.update(Message::Lost(error), now());
    assert_eq!(types(&mut model, "1;"), []);
}

#[test]
fn a_form_asks_for_what_it_is_judged_by_and_for_nothing_else() {
    let volume = banger_api::VolumeView {
        name: "data".parse().unwrap(),
        size_bytes: 0,
        allocated_bytes: 0,
        users: Vec::new(),
    };
    let mut model = three();
    for (keys, asked) in [
        ("e", vec![Question::Volumes]),
        ("R", vec![]),
        ("2b", vec![Question::Images, Question::Images]),
        ("I", vec![Question::Images]),
        ("5n", vec![Question::Volumes, Question::Volumes]),
    ] {
        let asked: Vec<_> = asked.into_iter().map(Effect::Ask).collect();
        assert_eq!(types(&mut model, keys), asked, "{keys}");
        types(&mut model, "<esc>");
    }
    types(&mut model, "ndata");
    assert_eq!(error(&model), None);
    let answer = Answer::Volumes(Ok(vec![volume]));
    model.update(Message::Answer(answer), now());
    assert!(error(&model).unwrap().contains("already"));
}
