//! The list: cursor, marks, filter, order.

use super::*;

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
    let one = |number: u32, name: &str, hours: Option<i64>, memory, disk, image: &str| {
        let phase = hours.map_or(Phase::Stopped, |_| Phase::Running);
        let mut vm = vm(number, name, phase);
        vm.started = hours.map(|it| now() - SignedDuration::from_hours(it));
        vm.spec.memory = banger_api::Mib(memory);
        vm.spec.disk_size = banger_api::Mib(disk);
        vm.image = image.to_owned();
        vm
    };
    let mut model = model(vec![
        one(1, "a", None, 1024, 8192, "z"),
        one(3, "b", Some(1), 3072, 16384, "x"),
        one(2, "c", Some(2), 2048, 32768, "y"),
    ]);
    for (sort, order, reversed) in [
        (vms::Sort::Name, "a b c", "c b a"),
        (vms::Sort::Phase, "b c a", "a b c"),
        (vms::Sort::Address, "c b a", "a b c"),
        (vms::Sort::Uptime, "c b a", "a b c"),
        (vms::Sort::Cpu, "a b c", "a b c"),
        (vms::Sort::Memory, "b c a", "a c b"),
        (vms::Sort::Disk, "c b a", "a b c"),
        (vms::Sort::Image, "b c a", "a c b"),
    ] {
        assert_eq!(model.vms.sort, sort);
        assert_eq!(shown(&model).join(" "), order, "{sort:?}");
        types(&mut model, "O");
        assert_eq!(shown(&model).join(" "), reversed, "{sort:?} reversed");
        types(&mut model, "Oo");
    }
    assert_eq!(model.vms.sort, vms::Sort::Name, "after the last the first");
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
    model.pane_scroll = 3;
    let refresh = KeyEvent::new(KeyCode::F(5), KeyModifiers::NONE);
    let mut effects = model.update(Message::Key(refresh), now());
    effects.retain(|it| !matches!(it, Effect::Measure(_)));
    assert_eq!(effects, [Effect::Ask(Question::Vm(VmId::from_bits(2)))]);
    assert_eq!(model.pane_scroll, 3, "the same VM is read on");
    assert_eq!(types(&mut model, "]]]j"), [], "not for events");
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
