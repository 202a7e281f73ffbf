//! Files that are no configuration, whatever their keys say.

use super::*;

#[test]
fn invalid_toml_is_reported_with_its_position() {
    for (bad, place) in [
        ("nat = yes", "1:7"),
        ("nat = true\nvcpu 2\n", "2:6"),
        ("nat = true\nnat = false\n", "2:1"),
        ("image = \"é", "1:11"),
        ("vcpu = ", "1:"),
        ("= 3", "1:1"),
        ("[[[", "1:"),
    ] {
        let message = message(bad);
        assert!(
            message.starts_with(&format!("config.toml:{place}")),
            "{bad}: {message}"
        );
        assert!(message.contains(" is not TOML: "), "{bad}: {message}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_reported_with_their_position() {
    let error = load(b"nat = true\nimage = \"\xff\"\n").unwrap_err();
    assert_eq!(error.message, "config.toml:2:10: this is not UTF-8");
    let error = load(b"\xff\xfen\0a\0t\0").unwrap_err();
    assert_eq!(error.message, "config.toml:1:1: this is not UTF-8");
}

#[test]
fn a_byte_order_mark_is_refused() {
    let error = load(b"\xef\xbb\xbfnat = true\n").unwrap_err();
    assert_eq!(
        error.message,
        "config.toml:1:1: the file begins with a byte-order mark"
    );
}

#[test]
fn a_huge_file_is_refused_without_reading_it_whole() {
    let error = load(&vec![b'#'; 10 << 20]).unwrap_err();
    assert_eq!(
        error.message,
        "config.toml: it is larger than 1 MiB, which no configuration is"
    );
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Config::load(folder.path()).unwrap_err();
    assert!(
        error
            .message
            .ends_with("it is a directory, and should be a file"),
        "{error:?}"
    );

    let error = Config::load(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(error.message, "/dev/zero: it is not a regular file");

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Config::load(&file.join("config.toml")).unwrap_err();
    assert!(error.message.contains("it cannot be read: "), "{error:?}");

    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/nowhere/at/all", &link).unwrap();
    let error = Config::load(&link).unwrap_err();
    assert!(
        error.message.ends_with("the link leads nowhere"),
        "{error:?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    // A regular file whose first page is never mapped, so that even root gets an error.
    let error = Config::load(Path::new("/proc/self/mem")).unwrap_err();
    assert!(error.message.contains("it cannot be read: "), "{error:?}");
}

#[test]
fn an_escape_sequence_does_not_reach_the_terminal() {
    let message = message("\"a\\u001b[31m\" = 1\n");
    assert!(!message.chars().any(char::is_control), "{message}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused_in_words(bytes: Vec<u8>) {
        if let Err(error) = Config::default().parse(Path::new("c"), &bytes) {
            proptest::prop_assert!(!error.message.chars().any(char::is_control));
        }
    }

    #[test]
    fn any_text_after_a_key_is_taken_or_refused_in_words(value in "[\\PC\n]{0,30}") {
        for key in ["subnet", "dns", "memory", "runtime_dir", "vcpu"] {
            let text = format!("{key} = {value}");
            if let Err(error) = Config::default().parse(Path::new("c"), text.as_bytes()) {
                proptest::prop_assert!(!error.message.chars().any(char::is_control));
            }
        }
    }
}
