//! Requests that are rejected before any side effect, with a hint.

use banger_api::{Code, CreateVm, Mib, VmSpecPatch};

use crate::world::{World, error_text, request};

fn refused(world: &World, request: &CreateVm, code: Code) -> String {
    let before = (world.run_time(), world.persistent());
    let error = world
        .engine
        .create(request, &|_| {})
        .expect_err("it is accepted");
    assert_eq!(error.code, code, "{}", error_text(&error));
    assert_eq!(
        (world.run_time(), world.persistent()),
        before,
        "something is left"
    );
    error_text(&error)
}

#[test]
fn names_that_are_no_dns_labels() {
    let world = World::new();
    for name in [
        "",
        "Upper",
        "a b",
        "../x",
        "a\nb",
        "-a",
        "x".repeat(64).as_str(),
        "all",
        "é",
    ] {
        let text = refused(&world, &request(name, false, false), Code::Invalid);
        assert!(text.contains("calm-otter"), "no example: {text}");
    }
}

#[test]
fn names_that_are_taken_or_begin_anothers_id() {
    let world = World::new();
    let vm = world.create("calm-otter", false, false);
    let text = refused(&world, &request("calm-otter", false, false), Code::Conflict);
    assert!(
        text.contains("there is a VM `calm-otter` already"),
        "{text}"
    );
    let prefix = &vm.id.to_string()[..5];
    let text = refused(&world, &request(prefix, false, false), Code::Conflict);
    assert!(text.contains(&vm.id.to_string()), "{text}");
}

#[test]
fn sizes_out_of_range() {
    let world = World::new();
    let unchanged = VmSpecPatch::default;
    let vcpu = |count| VmSpecPatch {
        vcpu: Some(count),
        ..unchanged()
    };
    let memory = |mib| VmSpecPatch {
        memory: Some(Mib(mib)),
        ..unchanged()
    };
    let disk_size = |mib| VmSpecPatch {
        disk_size: Some(Mib(mib)),
        ..unchanged()
    };
    let wrong = [
        vcpu(0),
        vcpu(65),
        memory(0),
        memory(1),
        memory(65_537),
        memory(4_294_967_296),
        disk_size(0),
        disk_size(u64::MAX),
        VmSpecPatch {
            system_disk_size: Some(Mib(1)),
            ..unchanged()
        },
    ];
    for spec in wrong {
        // More than this host has; another host might have it.
        let code = if spec.memory == Some(Mib(65_537)) {
            Code::Conflict
        } else {
            Code::Invalid
        };
        let request = CreateVm {
            spec,
            ..request("calm-otter", false, false)
        };
        let text = refused(&world, &request, code);
        assert!(text.contains("must be"), "{text}");
    }
}

#[test]
fn an_unknown_image() {
    let world = World::new();
    let request = CreateVm {
        image: Some("nixos".to_owned()),
        ..request("a", false, false)
    };
    let text = refused(&world, &request, Code::NotFound);
    assert!(
        text.contains("`nixos`") && text.contains("banger image list"),
        "{text}"
    );
}

#[test]
fn a_host_without_room() {
    let world = World::new();
    world.sim.set_free_mib(100);
    let text = refused(&world, &request("calm-otter", false, false), Code::NotReady);
    assert!(text.contains("100 MiB are free"), "{text}");
}
