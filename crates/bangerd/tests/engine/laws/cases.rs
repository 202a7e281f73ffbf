//! The cases of the laws: each verb, on each kind of host.

use banger_api::{CloneVm, DeleteVm, KillVm, StopVm, VmSpecPatch};
use bangerd::config::{Config, NetworkChoice};

use crate::world::{World, named, request};

/// A verb under test: the preparation of the host, and the verb.
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) ready: fn(&World),
    pub(super) run: fn(&World) -> banger_api::Result<()>,
}

pub(super) fn running(world: &World) {
    world.create("calm-otter", true, true);
    world.replace_bundle("newer than both");
}

pub(super) fn stopped(world: &World) {
    world.create("calm-otter", true, false);
    world.replace_bundle("newer than both");
}

/// Starts another VM, with images of its own, which no verb may affect.
pub(super) fn neighbour(world: &World) {
    world.replace_bundle("the neighbour's");
    world.create("neighbour", true, true);
    world.replace_bundle("the next");
}

pub(super) fn verbs() -> Vec<Verb> {
    vec![
        Verb {
            name: "create",
            ready: |_| {},
            run: |world| {
                let request = request("calm-otter", true, false);
                world.engine.create(&request, &|_| {}).map(drop)
            },
        },
        Verb {
            name: "create and start",
            ready: |_| {},
            run: |world| {
                world
                    .engine
                    .create(&request("calm-otter", true, true), &|_| {})
                    .map(drop)
            },
        },
        Verb {
            name: "start",
            ready: stopped,
            run: |world| world.start("calm-otter").map(drop),
        },
        Verb {
            name: "stop",
            ready: running,
            run: |world| {
                world
                    .engine
                    .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
                    .map(drop)
            },
        },
        Verb {
            name: "kill",
            ready: running,
            run: |world| {
                world
                    .engine
                    .kill(&named("calm-otter"), &KillVm::default(), &|_| {})
                    .map(drop)
            },
        },
        Verb {
            name: "restart",
            ready: running,
            run: |world| {
                world
                    .engine
                    .restart(&named("calm-otter"), &StopVm::default(), &|_| {})
                    .map(drop)
            },
        },
        Verb {
            name: "set",
            ready: running,
            run: |world| {
                let request = VmSpecPatch {
                    nat: Some(false),
                    ..VmSpecPatch::default()
                };
                world
                    .engine
                    .set(&named("calm-otter"), &request, &|_| {})
                    .map(drop)
            },
        },
        Verb {
            name: "clone",
            ready: |world| {
                world.create("original", true, false);
                world.replace_bundle("newer than both");
            },
            run: |world| {
                let request = CloneVm {
                    name: "calm-otter".to_owned(),
                    spec: VmSpecPatch::default(),
                };
                world
                    .engine
                    .clone_of(&named("original"), &request, &|_| {})
                    .map(drop)
            },
        },
        Verb {
            name: "delete",
            ready: stopped,
            run: |world| {
                world
                    .engine
                    .delete(&named("calm-otter"), &DeleteVm::default(), &|_| {})
                    .map(drop)
            },
        },
        Verb {
            name: "delete by force",
            ready: running,
            run: |world| {
                let request = DeleteVm {
                    force: true,
                    ..DeleteVm::default()
                };
                world
                    .engine
                    .delete(&named("calm-otter"), &request, &|_| {})
                    .map(drop)
            },
        },
    ]
}

/// The hosts for the laws, which hold for every kind of VM: with a root disk that is a file or a
/// device, and a network that is a TAP or QEMU's user networking with a gate.
fn grounds() -> [(&'static str, Config); 3] {
    let user = Config {
        network: NetworkChoice::User,
        ..Config::default()
    };
    [
        ("files", Config::default()),
        ("devices", World::on_devices()),
        ("user networking", user),
    ]
}

/// Every verb on each of these hosts.
pub(super) fn cases() -> impl Iterator<Item = (Verb, (&'static str, Config))> {
    let on = |ground: (&'static str, Config)| {
        verbs().into_iter().map(move |verb| (verb, ground.clone()))
    };
    grounds().into_iter().flat_map(on)
}
