use super::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

/// An entry as a hostile tar has it: nothing is checked.
struct Raw<'a> {
    name: &'a [u8],
    kind: EntryType,
    mode: u32,
    link: &'a [u8],
    content: &'a [u8],
}

const FILE: Raw<'static> = Raw {
    name: b"file",
    kind: EntryType::Regular,
    mode: 0o644,
    link: b"",
    content: b"content",
};

fn packed(entries: &[Raw<'_>]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..entry.name.len()].copy_from_slice(entry.name);
        old.linkname[..entry.link.len()].copy_from_slice(entry.link);
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.content.len() as u64);
        header.set_cksum();
        builder.append(&header, entry.content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn unpacked(archive: &[u8], limits: Limits) -> (tempfile::TempDir, Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    fs::write(&path, archive).unwrap();
    let into = folder.path().join("into");
    fs::create_dir(&into).unwrap();
    let outcome = unpack(&path, &into, limits, &InterruptSignal::default());
    (folder, outcome)
}

fn refusal(archive: &[u8], limits: Limits) -> String {
    let (folder, outcome) = unpacked(archive, limits);
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "something is outside: {names:?}");
    outcome.unwrap_err().to_string()
}

#[test]
fn folders_and_files_are_unpacked_with_rights_of_ours_and_holes() {
    let zeros = vec![0; 1 << 20];
    let archive = packed(&[
        Raw {
            name: b"./",
            kind: EntryType::Directory,
            content: b"",
            ..FILE
        },
        Raw {
            name: b"./deep/er/tool",
            mode: 0o700,
            ..FILE
        },
        Raw {
            name: b"disk",
            mode: 0o666,
            content: &zeros,
            ..FILE
        },
    ]);
    let (folder, outcome) = unpacked(&archive, LIMITS);
    outcome.unwrap();
    let into = folder.path().join("into");
    assert_eq!(fs::read(into.join("deep/er/tool")).unwrap(), b"content");
    let mode = |name: &str| into.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode("deep/er/tool"), mode("disk"), mode("deep")),
        (0o755, 0o644, 0o755)
    );
    let disk = into.join("disk").metadata().unwrap();
    assert_eq!((disk.len(), disk.blocks()), (1 << 20, 0));
}

#[test]
fn what_leaves_the_folder_or_is_no_file_is_refused() {
    let link = |name, kind, link| Raw {
        name,
        kind,
        link,
        content: b"",
        ..FILE
    };
    for (entry, expected) in [
        (
            Raw {
                name: b"/etc/cron.d/x",
                ..FILE
            },
            "absolute path",
        ),
        (
            Raw {
                name: b"../x",
                ..FILE
            },
            "`..`",
        ),
        (
            Raw {
                name: b"a/../../x",
                ..FILE
            },
            "`..`",
        ),
        (
            Raw {
                name: b"a\nb",
                ..FILE
            },
            "control characters",
        ),
        (
            Raw {
                name: b"\xff",
                ..FILE
            },
            "not UTF-8",
        ),
        (link(b"a", EntryType::Symlink, b"/etc"), "is a link"),
        (link(b"a", EntryType::Symlink, b"b"), "is a link"),
        (link(b"a", EntryType::Link, b"/etc/shadow"), "is a link"),
        (link(b"a", EntryType::Char, b""), "a device"),
        (link(b"a", EntryType::Block, b""), "a device"),
        (link(b"a", EntryType::Fifo, b""), "a device"),
        (link(b"a", EntryType::GNUSparse, b""), "type of tar entry"),
        (
            Raw {
                mode: 0o4755,
                ..FILE
            },
            "setuid",
        ),
        (
            Raw {
                mode: 0o2755,
                ..FILE
            },
            "setuid",
        ),
        (
            Raw {
                kind: EntryType::Directory,
                mode: 0o1777,
                content: b"",
                ..FILE
            },
            "setuid",
        ),
    ] {
        let error = refusal(&packed(&[entry]), LIMITS);
        assert!(error.contains(expected), "{error}");
    }
    let twice = refusal(&packed(&[FILE, FILE]), LIMITS);
    assert!(twice.contains("a duplicate"), "{twice}");
    let through = packed(&[
        link(b"a", EntryType::Symlink, b"/tmp"),
        Raw {
            name: b"a/x",
            ..FILE
        },
    ]);
    assert!(refusal(&through, LIMITS).contains("is a link"));
}

#[test]
fn bombs_are_refused_before_they_burst() {
    let limits = Limits {
        entries: 3,
        bytes: 1 << 20,
    };
    let names: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
    let many: Vec<_> = names.into_iter().map(|name| Raw { name, ..FILE }).collect();
    assert!(refusal(&packed(&many), limits).contains("more than 3 files"));
    let large = vec![0; (1 << 20) + 1];
    let large = packed(&[Raw {
        content: &large,
        ..FILE
    }]);
    assert!(large.len() < 100_000);
    assert!(refusal(&large, limits).contains("unpacks to more than"));
    // A name that would be read into memory.
    let name = vec![b'a'; 1 << 20];
    let long = packed(&[Raw {
        kind: EntryType::GNULongName,
        content: &name,
        ..FILE
    }]);
    assert!(refusal(&long, LIMITS).contains("type of tar entry"));
    // A size that is a lie: there is less.
    let mut header = tar::Header::new_gnu();
    header.set_path("file").unwrap();
    header.set_mode(0o644);
    header.set_size(1 << 40);
    header.set_cksum();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(header.as_bytes()).unwrap();
    let lie = gzip.finish().unwrap();
    assert!(refusal(&lie, LIMITS).contains("unpacks to more than"));
}

#[test]
fn damaged_and_truncated_archives_are_rejected() {
    for archive in [&b"hello"[..], b"", &packed(&[FILE])[..60]] {
        let error = refusal(archive, LIMITS);
        assert!(error.contains("damaged, or not"), "{error}");
    }
    assert!(refusal(&packed(&[]), LIMITS).contains("is empty"));
}

#[test]
fn an_interrupt_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    fs::write(&path, packed(&[FILE])).unwrap();
    let into = folder.path().join("into");
    fs::create_dir(&into).unwrap();
    let interrupt = InterruptSignal::default();
    interrupt.interrupt();
    let error = unpack(&path, &into, LIMITS, &interrupt).unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
}
