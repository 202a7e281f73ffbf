//! Boots, with a Firecracker that fails in each way at each step.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use bangerd::hypervisor::Hypervisor as _;
use bangerd::layout::machine;

use crate::stand_in::{ASKED, Behaviour, COMPLAINT, CONSOLE, FAULT, Script};
use crate::world::{DEVICE, PATIENCE, World, healthy};

/// Every request of a boot, in order, with its name in errors.
const REQUESTS: [(&str, &str); 9] = [
    ("GET /version", "its version"),
    ("PUT /machine-config", "2 CPUs and 512 MiB of memory"),
    ("PUT /boot-source", "the kernel `vmlinux`"),
    ("PUT /drives/root", "the disk `root.dev`"),
    (
        "PUT /network-interfaces/eth0",
        "the interface on the TAP `bg1testaa12bb34`",
    ),
    ("PUT /vsock", "the channel `agent.sock`"),
    ("PUT /entropy", "the source of randomness"),
    ("PUT /balloon", "the balloon"),
    ("PUT /actions", "the start of the machine"),
];

fn amiss(at: &str, does: Behaviour) -> Script {
    Script {
        at: at.to_owned(),
        does: Some(does),
        ..healthy()
    }
}

pub(crate) fn a_machine_is_configured_step_by_step_and_runs() {
    let world = World::new(&healthy());
    let process = world.boot().unwrap();
    let asked = world.read(ASKED);
    let expected = [
        r#"GET /version "#,
        r#"PUT /machine-config {"vcpu_count":2,"mem_size_mib":512}"#,
        r#"PUT /boot-source {"kernel_image_path":"vmlinux","initrd_path":"initramfs","boot_args":"console=ttyS0"}"#,
        r#"PUT /drives/root {"drive_id":"root","path_on_host":"root.dev","is_root_device":false,"is_read_only":false,"cache_type":"Writeback","io_engine":"Sync"}"#,
        r#"PUT /network-interfaces/eth0 {"iface_id":"eth0","host_dev_name":"bg1testaa12bb34","guest_mac":"02:ba:aa:12:bb:34","mtu":1500}"#,
        r#"PUT /vsock {"guest_cid":3,"uds_path":"agent.sock"}"#,
        r#"PUT /entropy {}"#,
        r#"PUT /balloon {"amount_mib":0,"deflate_on_oom":true,"free_page_reporting":true}"#,
        r#"PUT /actions {"action_type":"InstanceStart"}"#,
    ];
    assert_eq!(asked.lines().collect::<Vec<_>>(), expected);
    let device = std::fs::read_link(world.path(machine::ROOT_DEVICE));
    assert_eq!(device.unwrap(), std::path::Path::new(DEVICE));
    // The console has only the guest's output.
    assert_eq!(world.read(machine::CONSOLE), CONSOLE);
    world.kill(&process);
    world.tear_down();
}

pub(crate) fn every_rejection_is_reported_in_firecrackers_words() {
    for (request, about) in REQUESTS {
        let error = World::new(&amiss(request, Behaviour::Refuse)).fails();
        assert_eq!(error.message, "boot the machine in Firecracker");
        assert_eq!(
            error.causes,
            [format!("it refuses {about}"), FAULT.to_owned()],
            "{request}"
        );
    }
}

pub(crate) fn a_firecracker_that_stalls_at_any_step_is_ended_in_time() {
    for (request, about) in REQUESTS {
        let error = World::new(&amiss(request, Behaviour::Stall)).fails();
        let [what, why] = &error.causes[..] else {
            panic!("{error:?}")
        };
        assert_eq!(*what, format!("it does not answer about {about}"));
        assert!(why.starts_with("no answer within "), "{why}");
        assert!(error.hints[0].contains("overloaded"), "{error:?}");
    }
}

pub(crate) fn a_stall_is_reported_within_five_seconds() {
    let world = World::patient(&amiss("PUT /actions", Behaviour::Stall));
    let began = Instant::now();
    let error = world.fails();
    assert!(began.elapsed() < Duration::from_secs(6), "{error:?}");
    assert!(
        error.causes[1].starts_with("no answer within 4."),
        "{error:?}"
    );
}

pub(crate) fn a_firecracker_that_dies_at_any_step_is_reported_with_its_exit() {
    for (request, about) in REQUESTS {
        let error = World::new(&amiss(request, Behaviour::Die)).fails();
        assert_eq!(error.causes[0], format!("it ended during {about}"));
        let known = &error.causes[2..];
        assert_eq!(
            known,
            [
                "Firecracker exited with status 148: a system call that its seccomp filter forbids",
                COMPLAINT
            ],
            "{request}: {error:?}"
        );
    }
}

pub(crate) fn an_invalid_answer_is_reported() {
    for (request, about) in REQUESTS {
        let error = World::new(&amiss(request, Behaviour::Babble)).fails();
        assert_eq!(error.causes[0], format!("it ended during {about}"));
        assert!(error.causes.len() == 2, "{error:?}");
    }
}

pub(crate) fn one_that_never_listens_is_reported() {
    let error = World::new(&amiss("listen", Behaviour::Stall)).fails();
    let expected = "it does not listen on its socket, within ";
    assert!(error.causes[0].starts_with(expected), "{error:?}");
    let error = World::new(&amiss("listen", Behaviour::Die)).fails();
    assert_eq!(error.causes[0], "it ended before it listened");
    assert!(error.causes[1].contains("148"), "{error:?}");
    assert_eq!(error.causes[2], COMPLAINT);
}

pub(crate) fn leftovers_of_an_earlier_run_do_no_harm() {
    let world = World::new(&healthy());
    for name in [machine::FIRECRACKER_SOCKET, machine::AGENT] {
        drop(UnixListener::bind(world.path(name)).unwrap());
    }
    std::fs::write(world.path(machine::HYPERVISOR_LOG), "[a:b:ERROR] old").unwrap();
    std::fs::write(world.path(machine::CONSOLE), "an earlier boot\n").unwrap();
    let process = world.boot().unwrap();
    assert_eq!(world.read(machine::HYPERVISOR_LOG), "");
    assert_eq!(
        world.read(machine::CONSOLE),
        format!("an earlier boot\n{CONSOLE}")
    );
    world.kill(&process);
}

pub(crate) fn an_older_one_is_refused_by_what_it_says_over_its_socket() {
    for version in ["1.16.0", "1.9.9", "0.99.0-dev", "new"] {
        let script = Script {
            api_version: version.to_owned(),
            ..healthy()
        };
        let error = World::new(&script).fails();
        let expected = format!("it is {version}, and 1.16.1 is needed: ");
        assert!(error.causes[0].starts_with(&expected), "{error:?}");
    }
}

pub(crate) fn a_path_that_is_too_long_for_a_socket_is_none_for_us() {
    let deep = "a-folder-with-a-long-name/".repeat(6);
    let world = World::below(&deep, &healthy());
    assert!(world.path(machine::FIRECRACKER_SOCKET).as_os_str().len() > 107);
    let process = world.boot().unwrap();
    world.kill(&process);
}

pub(crate) fn the_power_button_is_pressed_before_its_deadline_or_never() {
    let world = World::new(&healthy());
    let press = |wait| {
        world
            .driver
            .press_power_button(&world.vm, Instant::now() + wait)
    };
    let error = press(PATIENCE).unwrap_err();
    assert_eq!(error.message, "speak with Firecracker");
    let process = world.boot().unwrap();
    press(PATIENCE).unwrap();
    assert!(
        world
            .read(ASKED)
            .ends_with("{\"action_type\":\"SendCtrlAltDel\"}\n"),
        "{}",
        world.read(ASKED)
    );
    use banger_host::{Host as _, Signal};
    world.host.signal(&process, Signal::Stop).unwrap();
    let error = press(Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.causes, ["no answer within 0.1 s"]);
    world.kill(&process);
}
