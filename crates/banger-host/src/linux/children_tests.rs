use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use super::*;
use crate::linux::Linux;
use crate::linux::testing::{in_own_network, is_root, run};
use crate::{Host as _, Look as _, Mark, Op, Owner, Spawn, Tap};

const NOBODY: Owner = Owner {
    uid: 65534,
    gid: 65534,
};
const SOON: Duration = Duration::from_secs(10);

fn shell(folder: &Path, script: &str) -> Spawn {
    Spawn {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        directory: folder.to_owned(),
        user: None,
        keep_kvm_group: false,
        input: None,
        log: folder.join("log"),
        errors: None,
        tap: None,
        scope: None,
        jailed: None,
    }
}

/// The mark of the program that [`shell`] starts by this name.
fn mark(name: &str) -> Mark {
    Mark {
        name: name.to_owned(),
        user: None,
        alone: false,
        programs: vec!["/bin/sh".into()],
    }
}

fn assert_ends(host: &Linux, process: &Process) {
    let process = std::slice::from_ref(process);
    assert_eq!(host.wait_any(process, SOON), process);
}

/// Starts a program, waits for its end, and returns what it wrote.
fn output(host: &Linux, spawn: &Spawn) -> String {
    let process = host.spawn(spawn).unwrap();
    assert_ends(host, &process);
    assert_eq!(host.exit_of(&process), Some(Exit::Status(0)));
    fs::read_to_string(&spawn.log).unwrap()
}

#[test]
fn errors_have_a_file_of_their_own_where_one_is_given() {
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut spawn = shell(folder.path(), "echo out; echo error >&2");
    assert_eq!(output(&host, &spawn), "out\nerror\n");
    fs::remove_file(&spawn.log).unwrap();
    let errors = folder.path().join("errors");
    spawn.errors = Some(errors.clone());
    assert_eq!(output(&host, &spawn), "out\n");
    assert_eq!(fs::read_to_string(errors).unwrap(), "error\n");
}

#[test]
fn an_input_is_for_whoever_writes_to_it_one_after_another() {
    use std::io::Write as _;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::write(&input, "what an earlier run left").unwrap();
    let script = "line() { until read -r line; do sleep 0.01; done; echo \"$line\"; }; line; line";
    let mut spawn = shell(folder.path(), script);
    spawn.input = Some(input.clone());
    let process = host.spawn(&spawn).unwrap();
    let found = fs::symlink_metadata(&input).unwrap();
    assert!(found.file_type().is_fifo());
    assert_eq!(found.mode() & 0o7777, 0o600);
    let open = || {
        let mut options = fs::File::options();
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        options.write(true).custom_flags(flags).open(&input)
    };
    for line in ["one\n", "two\n"] {
        open().unwrap().write_all(line.as_bytes()).unwrap();
    }
    assert_ends(&host, &process);
    assert_eq!(fs::read_to_string(&spawn.log).unwrap(), "one\ntwo\n");
    open().unwrap_err();
}

#[test]
fn a_log_belongs_to_the_user_of_the_program_unless_it_has_another_name() {
    if !is_root() {
        return;
    }
    use std::os::unix::fs::MetadataExt as _;
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut spawn = shell(folder.path(), "true");
    spawn.user = Some(NOBODY);
    output(&host, &spawn);
    assert_eq!(fs::metadata(&spawn.log).unwrap().uid(), NOBODY.uid);
    spawn.log = folder.path().join("linked");
    fs::write(folder.path().join("another's"), "").unwrap();
    fs::hard_link(folder.path().join("another's"), &spawn.log).unwrap();
    output(&host, &spawn);
    assert_eq!(fs::metadata(&spawn.log).unwrap().uid(), 0);
}

#[test]
fn the_name_of_a_process_may_hold_anything() {
    let tail = "S 1 2 2 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 1000 0";
    let expected = Some(Stat {
        parent: 1,
        start_time: 4711,
        ended: false,
        stopped: false,
    });
    assert_eq!(parse_stat(&format!("42 (a) b (c) {tail}")), expected);
    let zombie = parse_stat(&format!("42 (sh) Z{}", &tail[1..])).unwrap();
    assert!(zombie.ended);
    let stopped = parse_stat(&format!("42 (sh) T{}", &tail[1..])).unwrap();
    assert!(stopped.stopped && !stopped.ended);
    assert_eq!(parse_stat("42 (sh) S 1"), None);
    assert_eq!(parse_stat(""), None);
}

#[test]
fn a_program_starts_in_its_own_session_with_nothing_of_ours() {
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // This descriptor lacks close-on-exec.
    let forgotten = rustix::pipe::pipe().unwrap();
    let script = "ls /proc/self/fd | tr '\\n' ' '; umask; pwd; env | sort | tr '\\n' ' '; \
                  cut -d' ' -f6 /proc/self/stat; echo $$; grep -E 'SigIgn|SigBlk' /proc/self/status; \
                  readlink /proc/self/fd/0; echo error >&2";
    let text = output(&host, &shell(folder.path(), script));
    drop(forgotten);
    let lines: Vec<&str> = text.lines().collect();
    // `ls` itself opens the fourth.
    assert_eq!(lines[0], "0 1 2 3 0077");
    assert_eq!(Path::new(lines[1]), folder.path().canonicalize().unwrap());
    let environment: Vec<&str> = lines[2].split(' ').filter(|it| it.contains('=')).collect();
    assert!(environment.contains(&"LC_ALL=C"), "{text}");
    let own = ["LC_ALL=", "PATH=", "PWD=", "OLDPWD=", "SHLVL=", "_="];
    assert!(
        environment
            .iter()
            .all(|it| own.iter().any(|own| it.starts_with(own))),
        "{text}"
    );
    let session = lines[2].rsplit(' ').next().unwrap();
    assert_eq!(session, lines[3], "the session is its own");
    // The C library uses signals 32 and 33.
    let clear = |line: &str| {
        let bits = line.split_ascii_whitespace().last().unwrap();
        u64::from_str_radix(bits, 16).unwrap() & !(3 << 31) == 0
    };
    assert!(clear(lines[4]) && clear(lines[5]), "{text}");
    assert_eq!(lines[6..], ["/dev/null", "error"]);
    let mode = folder
        .path()
        .join("log")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_log_is_added_to_and_a_link_in_its_place_is_refused() {
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spawn = shell(folder.path(), "echo line");
    output(&host, &spawn);
    assert_eq!(output(&host, &spawn), "line\nline\n");
    let target = folder.path().join("precious");
    fs::write(&target, "precious").unwrap();
    fs::remove_file(&spawn.log).unwrap();
    std::os::unix::fs::symlink(&target, &spawn.log).unwrap();
    assert!(host.spawn(&spawn).is_err());
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn what_cannot_be_executed_is_an_error_and_not_a_process() {
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut spawn = shell(folder.path(), "");
    let absent = folder.path().join("absent");
    spawn.program = absent.join("program");
    assert_eq!(host.spawn(&spawn).unwrap_err().kind(), Kind::Missing);
    let broken = folder.path().join("broken");
    fs::write(&broken, format!("#!{}\n", absent.display())).unwrap();
    fs::set_permissions(&broken, PermissionsExt::from_mode(0o755)).unwrap();
    spawn.program = broken;
    assert_eq!(
        host.spawn(&spawn).unwrap_err().kind(),
        Kind::Missing,
        "exec itself says so"
    );
    spawn = shell(&folder.path().join("nowhere"), "");
    spawn.log = folder.path().join("log");
    assert_eq!(host.spawn(&spawn).unwrap_err().kind(), Kind::Missing);
}

#[test]
fn a_program_runs_as_its_own_user_where_that_user_cannot_go() {
    if !is_root() {
        return;
    }
    let host = Linux::new().unwrap();
    let closed = tempfile::tempdir().unwrap();
    let folder = closed.path().join("machine");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(65534), Some(65534)).unwrap();
    let script = "id -u; id -g; id -G; echo mine > made; cat made; \
                  grep -E 'NoNewPrivs|CapPrm|CapAmb' /proc/self/status | tr '\\n\\t' '  '";
    let mut spawn = shell(&folder, script);
    spawn.user = Some(NOBODY);
    spawn.log = closed.path().join("log");
    let text = output(&host, &spawn);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["65534", "65534", "65534", "mine"], "{text}");
    assert!(lines[4].contains("NoNewPrivs: 1"), "{text}");
    assert!(lines[4].contains("CapPrm: 0000000000000000"), "{text}");

    let Ok(kvm) = fs::metadata("/dev/kvm") else {
        return;
    };
    use std::os::unix::fs::MetadataExt as _;
    spawn.keep_kvm_group = true;
    spawn.arguments[1] = "id -G".to_owned();
    fs::remove_file(&spawn.log).unwrap();
    assert_eq!(output(&host, &spawn).trim(), format!("65534 {}", kvm.gid()));
}

#[test]
fn a_program_finds_its_tap_at_the_number_it_was_promised() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let machine = crate::MachineId::from_bits(10);
        let tap = crate::RootOp::MakeTap(crate::GuestTap {
            machine,
            uid: 65534,
            host_address: [10, 88, 0, 1].into(),
            guest_address: [10, 88, 0, 2].into(),
            mac: crate::MacAddress::from_bits(2),
            mtu: 1500,
        });
        let op = Op::Root(crate::Instance::of_digits(0x00ab), tap);
        host.change(&op).unwrap();
        for descriptor in [3, 4, 9, 50] {
            let script = format!(
                "readlink /proc/self/fd/{descriptor}; grep iff /proc/self/fdinfo/{descriptor}; \
                         ls /proc/self/fd | wc -l; id -u"
            );
            let mut spawn = shell(folder.path(), &script);
            spawn.user = Some(NOBODY);
            spawn.log = folder.path().join(format!("log-{descriptor}"));
            spawn.tap = Some(Tap {
                name: "bg100ab0000000a".to_owned(),
                descriptor,
            });
            fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
            let text = output(&host, &spawn);
            assert_eq!(text, "/dev/net/tun\niff:\tbg100ab0000000a\n5\n65534\n");
        }
        run("ip", "link show bg100ab0000000a");
        let mut spawn = shell(folder.path(), "");
        spawn.tap = Some(Tap {
            name: "bg1none".to_owned(),
            descriptor: 3,
        });
        assert_eq!(host.spawn(&spawn).unwrap_err().kind(), Kind::Missing);
        spawn.tap = Some(Tap {
            name: "bg100ab0000000a".to_owned(),
            descriptor: 2,
        });
        assert!(host.spawn(&spawn).is_err());
        assert_eq!(
            host.change(&Op::Root(
                crate::Instance::of_digits(0x00ab),
                crate::RootOp::RemoveTap { machine }
            ))
            .unwrap(),
            Change::Made
        );
    });
}

#[path = "process_tests.rs"]
mod processes;
