//! The parsers of other machines' output, and the errors of connections.

use std::io::Write as _;

use super::*;

fn lab() -> Remote {
    let folders = Folders {
        runtime: None,
        state: "/state".into(),
        kept: "/kept".into(),
    };
    let contexts = Contexts::default();
    Remote::find("ada@lab:2222", &contexts, &folders)
        .unwrap()
        .unwrap()
}

#[test]
fn what_a_login_shell_prints_is_passed_over() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let text = format!("Welcome!\nbanger-dial-stdio\n> {GREETING}HTTP");
    theirs.write_all(text.as_bytes()).unwrap();
    hear_greeting(&mut ours, None).unwrap();
    drop(theirs);
    let mut rest = String::new();
    ours.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "HTTP");
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    std::thread::spawn(move || while theirs.write_all(&[b'y'; 1024]).is_ok() {});
    hear_greeting(&mut ours, None).unwrap_err();
}

#[test]
fn each_way_to_fail_has_words_of_its_own() {
    let json = Error::new(Code::NotReady, "the record is newer").hint("upgrade");
    let json = format!("bash: warning\n{}\n", serde_json::to_string(&json).unwrap());
    for (status, stderr, message, hint) in [
        (
            255,
            "ada@lab: Permission denied (publickey).\n",
            "ssh does not reach `ada@lab:2222`",
            "ssh -p 2222 ada@lab",
        ),
        (
            127,
            "sh: 1: exec: banger: not found\n",
            "banger is not installed on",
            "--program",
        ),
        (1, &json, "reach the daemon on `ada@lab:2222`", "upgrade"),
        (
            2,
            "error: unrecognized subcommand 'dial-stdio'\n",
            "is too old",
            "upgrade banger on",
        ),
        (
            0,
            "This account is for git only\n",
            "is not banger",
            "see what it prints",
        ),
    ] {
        let error = lab().explain(&SshEnd {
            status: Some(status),
            stderr: stderr.to_owned(),
        });
        assert!(error.message.contains(message), "{error:?}");
        assert!(error.hints.iter().any(|it| it.contains(hint)), "{error:?}");
        assert!(!error.causes.is_empty(), "{error:?}");
    }
}

#[test]
fn the_side_to_upgrade_is_named() {
    let newer = lab().require_version(API_VERSION + 1).unwrap_err();
    assert_eq!(newer.hints, ["upgrade banger on this machine"]);
    let older = lab().require_version(API_VERSION - 1).unwrap_err();
    assert!(older.hints[0].starts_with("upgrade banger on `ada@lab:2222`"));
}

#[test]
fn this_machine_is_no_other() {
    let folders = Folders {
        runtime: None,
        state: "/state".into(),
        kept: "/kept".into(),
    };
    let found = Remote::find(LOCAL, &Contexts::default(), &folders).unwrap();
    assert!(found.is_none());
}
