//! The check of Firecracker's program, and the error of a start if the program does not run.

use std::os::unix::fs::PermissionsExt as _;

use banger_api::{CheckReport, Verdict};
use bangerd::hypervisor::Hypervisor as _;

use crate::stand_in::{Behaviour, Script};
use crate::world::{World, healthy};

fn check(world: &World) -> CheckReport {
    let checks = world.driver.checks();
    let mut reports = checks.iter().map(|check| check.run(&world.host));
    reports.find(|it| it.name == "Firecracker").unwrap()
}

/// The finding of a failed check, and its hint.
fn fails(world: &World) -> (String, String) {
    let report = check(world);
    assert_eq!(report.verdict, Verdict::Fail, "{report:?}");
    (report.found, report.hints.concat())
}

pub(crate) fn a_program_that_will_do_passes() {
    for version in ["1.16.1", "1.17.0-dev", "2.0.0"] {
        let script = Script {
            version: version.to_owned(),
            ..healthy()
        };
        let world = World::new(&script);
        copied(&world);
        let report = check(&world);
        assert_eq!(report.verdict, Verdict::Pass, "{report:?}");
    }
}

/// Copies the stand-in to a new file, because the version of a file is remembered.
fn copied(world: &World) {
    std::fs::remove_file(world.program()).unwrap();
    std::fs::copy(std::env::current_exe().unwrap(), world.program()).unwrap();
}

pub(crate) fn an_unsuitable_program_is_reported_with_a_hint() {
    let old = Script {
        version: "1.16.0".to_owned(),
        ..healthy()
    };
    let world = World::new(&old);
    copied(&world);
    let (found, hint) = fails(&world);
    assert!(
        found.contains("is 1.16.0, and 1.16.1 is needed: "),
        "{found}"
    );
    assert!(found.contains("CVE-2026-5747"), "{found}");
    assert!(hint.contains("releases"), "{hint}");
    std::fs::set_permissions(world.program(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (found, hint) = fails(&world);
    assert!(found.ends_with("is not executable"), "{found}");
    assert_eq!(hint, format!("chmod +x {}", world.program().display()));
    std::fs::remove_file(world.program()).unwrap();
    assert!(fails(&world).0.starts_with("there is no `/"));
    let hangs = Script {
        at: "--version".to_owned(),
        does: Some(Behaviour::Stall),
        ..healthy()
    };
    let world = World::new(&hangs);
    copied(&world);
    let (found, _) = fails(&world);
    assert!(found.ends_with("timed out after 3 s"), "{found}");
    let dumb = Script {
        version: "unknown".to_owned(),
        ..healthy()
    };
    let world = World::new(&dumb);
    copied(&world);
    let (found, _) = fails(&world);
    assert!(
        found.ends_with("prints no version: Firecracker vunknown"),
        "{found}"
    );
}

pub(crate) fn a_program_that_cannot_be_started_is_reported() {
    let world = World::new(&healthy());
    std::fs::remove_file(world.program()).unwrap();
    let error = world.fails();
    assert_eq!(error.message, "start Firecracker");
    std::fs::write(world.program(), b"\x7fELF, and nothing more").unwrap();
    std::fs::set_permissions(world.program(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = world.fails();
    assert_eq!(error.causes[0], "it ended before it listened");
    assert!(error.causes[1].contains("with status"), "{error:?}");
}
