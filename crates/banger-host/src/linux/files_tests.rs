//! Directories and files on a real file system.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_directory_is_made_with_its_parents_and_is_idempotent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/c");
    assert_eq!(make_directory(&path, 0o711, None).unwrap(), Change::Made);
    assert_eq!(make_directory(&path, 0o711, None).unwrap(), Change::Already);
    assert_eq!(
        (mode(&path), mode(&folder.path().join("a"))),
        (0o711, 0o711)
    );
    assert_eq!(make_directory(&path, 0o700, None).unwrap(), Change::Made);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(
        mode(&folder.path().join("a")),
        0o711,
        "parents that were there stay"
    );
}

#[test]
fn a_file_where_a_directory_should_be_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    assert!(make_directory(&path, 0o700, None).is_err());
    assert!(make_directory(&path.join("below"), 0o700, None).is_err());
}

#[test]
fn removing_a_directory_follows_no_link_and_is_idempotent() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), "precious").unwrap();
    let path = folder.path().join("gone");
    fs::create_dir_all(path.join("deep/er")).unwrap();
    symlink(&kept, path.join("deep/link")).unwrap();
    assert_eq!(remove_directory(&path).unwrap(), Change::Made);
    assert_eq!(remove_directory(&path).unwrap(), Change::Already);
    assert_eq!(fs::read(kept.join("file")).unwrap(), b"precious");

    symlink(&kept, &path).unwrap();
    assert_eq!(remove_directory(&path).unwrap(), Change::Made);
    assert!(kept.join("file").exists() && !path.is_symlink());
}

#[test]
fn a_rename_keeps_the_file_and_is_idempotent() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("record"), "kept").unwrap();
    fs::write(path("mark"), "of before").unwrap();
    let rename = || rename_file(&path("record"), &path("mark"));
    assert_eq!(rename().unwrap(), Change::Made);
    assert_eq!(fs::read(path("mark")).unwrap(), b"kept");
    assert_eq!(rename().unwrap(), Change::Already);
    fs::remove_file(path("mark")).unwrap();
    assert_eq!(rename().unwrap_err().kind(), Kind::Missing);
    fs::write(path("record"), "").unwrap();
    let elsewhere = std::path::PathBuf::from("/elsewhere/mark");
    assert!(rename_file(&path("record"), &elsewhere).is_err());
}

#[test]
fn a_symbolic_link_replaces_a_file_and_never_touches_its_target() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("root.dev"), folder.path().join("disk"));
    fs::write(&target, "precious").unwrap();
    fs::write(&path, "old").unwrap();
    assert_eq!(make_link(&path, &target).unwrap(), Change::Made);
    assert_eq!(make_link(&path, &target).unwrap(), Change::Already);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let absent = folder.path().join("absent");
    assert_eq!(make_link(&path, &absent).unwrap(), Change::Made);
    assert_eq!(fs::read_link(&path).unwrap(), absent);
    assert_eq!(remove_file(&path).unwrap(), Change::Made);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn writing_replaces_the_file_and_not_what_a_link_points_to() {
    for write in [write_file, write_scratch] {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("record"), folder.path().join("other"));
        fs::write(&other, "precious").unwrap();
        symlink(&other, &path).unwrap();
        assert_eq!(write(&path, b"new", 0o600, None).unwrap(), Change::Made);
        assert_eq!(write(&path, b"new", 0o600, None).unwrap(), Change::Already);
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        assert!(!path.is_symlink());
        assert_eq!(write(&path, b"new", 0o644, None).unwrap(), Change::Made);
        assert_eq!(mode(&path), 0o644);
        assert_eq!(write(&path, b"newer", 0o644, None).unwrap(), Change::Made);
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 2, "no temporary file is left");
    }
}

#[test]
fn a_file_without_a_folder_is_missing_and_its_removal_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/such/file");
    assert_eq!(
        write_file(&path, b"", 0o600, None).unwrap_err().kind(),
        Kind::Missing
    );
    assert_eq!(remove_file(&path).unwrap(), Change::Already);
    assert_eq!(remove_directory(&path).unwrap(), Change::Already);
}

#[test]
fn a_link_takes_the_place_of_what_was_there_and_is_idempotent() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, "kernel").unwrap();
    fs::write(&to, "old").unwrap();
    assert_eq!(link_file(&from, &to).unwrap(), Change::Made);
    assert_eq!(link_file(&from, &to).unwrap(), Change::Already);
    assert_eq!(fs::read(&to).unwrap(), b"kernel");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(remove_file(&to).unwrap(), Change::Made);
    assert_eq!(fs::read(&from).unwrap(), b"kernel");
}

#[test]
fn a_fifo_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(open(&path, true).is_err());
    assert_eq!(
        write_file(&path, b"now a file", 0o600, None).unwrap(),
        Change::Made
    );
    assert_eq!(fs::read(&path).unwrap(), b"now a file");
}
