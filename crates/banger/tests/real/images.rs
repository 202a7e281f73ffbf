//! Images that an older banger imported.

use std::fs;
use std::io::Write as _;

use crate::needs_real_vms;
use crate::world::World;

/// An archive in cpio's newc format with this program as `/init`.
fn archive_with_init(program: &[u8]) -> Vec<u8> {
    let init = cpio::NewcBuilder::new("init").mode(0o100_755).nlink(1);
    let size = u32::try_from(program.len()).unwrap();
    let mut writer = init.write(Vec::new(), size);
    writer.write_all(program).unwrap();
    cpio::newc::trailer(writer.finish().unwrap()).unwrap()
}

pub(crate) fn an_image_with_a_guest_program_of_its_own_boots_with_the_daemons() {
    needs_real_vms!();
    let world = World::new(None);
    let options = ["--no-start", "--memory", "512", "--disk-size", "512M"];
    world.must(&[&["vm", "create", "--name", "old"], &options[..]].concat());
    let base = fs::read_dir(world.state().join("images"))
        .unwrap()
        .map(|image| image.unwrap().path().join("base.cpio"))
        .find(|base| base.exists())
        .unwrap();
    // A kernel that executed this would panic.
    let mut archive = archive_with_init(b"no program at all");
    archive.extend(fs::read(&base).unwrap());
    fs::write(&base, archive).unwrap();
    world.must(&["vm", "start", "old"]);
    assert_eq!(world.ssh("old", &["hostname"]), "old");
}
