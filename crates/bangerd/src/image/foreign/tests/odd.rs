//! Odd archives: what old programs make, and what is left of an interrupted one.

use super::*;
use crate::image::foreign::tree::Kind;

#[test]
fn what_is_left_of_a_hidden_directory_has_a_new_one() {
    let lower: &[Entry<'_>] = &[("a/b/old", FILE, b"1"), ("c/", FOLDER, b"")];
    // The whiteout may come after what replaces it.
    let upper: &[Entry<'_>] = &[("a/b/new", FILE, b"2"), (".wh.a", FILE, b"")];
    let tree = tree(&[lower, upper]).unwrap();
    assert_eq!(paths(&tree), ["a", "a/b", "a/b/new", "c"]);
    assert_eq!(tree.nodes[Path::new("a")].uid, 0, "the old one is gone");
}

#[test]
fn what_a_storage_driver_keeps_is_no_file_and_a_whiteout_has_a_name() {
    let own: &[Entry<'_>] = &[
        (".wh..wh.aufs", FILE, b""),
        (".wh..wh.plnk/", FOLDER, b""),
        (".wh..wh.plnk/1.2", FILE, b"3"),
        ("b", FILE, b""),
    ];
    let lower: &[Entry<'_>] = &[("a", FILE, b"1")];
    let found = tree(&[lower, own]).unwrap();
    assert!(
        paths(&found)
            .iter()
            .all(|it| !it.ends_with("1.2") && !it.ends_with("aufs"))
    );
    for name in [".wh.", "a/.wh.", ".wh..", ".wh..."] {
        let hides: &[Entry<'_>] = &[(name, FILE, b"")];
        let error = tree(&[lower, hides]).map(|it| it.nodes.len()).unwrap_err();
        assert!(error.report().contains("without a name"), "{name}: {error}");
    }
}

#[test]
fn a_directory_of_the_oldest_format_is_one_and_a_label_is_none() {
    let label = EntryType::new(b'V');
    let tree = tree(&[&[("backup", label, b""), ("tmp/", FILE, b"")]]).unwrap();
    assert_eq!(paths(&tree), ["tmp"]);
    assert_eq!(tree.nodes[Path::new("tmp")].kind, Kind::Directory);
}

#[test]
fn what_is_cut_off_or_compressed_otherwise_is_refused_in_words() {
    let (bundle, folder) = place();
    let source = folder.path().join("source");
    let whole = bootable(&[]);
    // Between two entries: only the end is missing.
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let cut = &whole[..(end / 512 + 1) * 512];
    for (bytes, why) in [
        (cut, "it is cut off"),
        (b"BZh91AY&SY", "bunzip2"),
        (b"PK\x03\x04....", "unzip"),
        (b"\x04\x22\x4d\x18....", "lz4 -d"),
    ] {
        std::fs::write(&source, bytes).unwrap();
        let error = make(&source, bundle.path(), &mut nothing).unwrap_err();
        assert!(error.report().contains(why), "{why}: {}", error.report());
    }
}
