//! The real `banger-root`, as systemd or sudo starts it, in a network and mounts of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "skips are counted by what is printed")]
#![expect(
    clippy::disallowed_methods,
    reason = "not what is tested, but what it is tested with"
)]

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use serde_json::{Value, json};

/// The user who is served.
const USER: u32 = 64_002;

/// An `/etc` and a `/run` that only the program sees, with the program where only root can write.
const SCRIPT: &str = r#"
mount --make-rprivate /
mount -t tmpfs -o mode=755 none /etc
mount -t tmpfs -o mode=755 none /run
mkdir /etc/banger /run/programs
ip link add out0 type veth peer name other0
ip address add 192.0.2.2/24 dev out0
ip link set out0 up
umask 022
printf '%s' "$2" > /etc/banger/64002.json
cp "$1" /run/programs/banger-root
chmod "$3" /run/programs
ip link set lo up
export SECRET=hush
exec /run/programs/banger-root serve --uid 64002 --stdin
"#;

fn skipped(reason: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED: {name}: {reason}");
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root");
    }
    root
}

/// A connected socket pair that this user has made.
fn pair_of(uid: u32) -> (OwnedFd, OwnedFd) {
    let made = thread::spawn(move || {
        let uid = rustix::process::Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    });
    made.join().unwrap()
}

struct Program {
    child: Child,
    socket: OwnedFd,
}

impl Program {
    fn start(caller: u32, folder_mode: &str) -> Self {
        let claim = json!({
            "uid": USER,
            "user": "ada",
            "state": "/home/ada/.local/state/banger",
            "subnet": "10.217.0.0/20",
            "dns_port": 42071,
        });
        let (socket, theirs) = pair_of(caller);
        let child = Command::new("unshare")
            .args(["--mount", "--net", "--", "sh", "-ec", SCRIPT, "sh"])
            .arg(env!("CARGO_BIN_EXE_banger-root"))
            .arg(claim.to_string())
            .arg(folder_mode)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, socket }
    }

    /// The answer of the program, or `None` if it has ended.
    fn ask(&self, request: &Value) -> Option<Value> {
        send(
            &self.socket,
            request.to_string().as_bytes(),
            SendFlags::NOSIGNAL,
        )
        .ok()?;
        let mut buffer = vec![0; 64 << 10];
        let (_, length) = recv(&self.socket, &mut *buffer, RecvFlags::empty()).ok()?;
        (length > 0).then(|| serde_json::from_slice(&buffer[..length]).unwrap())
    }

    /// Ends it, and returns its exit status and its output.
    fn end(self) -> (Option<i32>, String) {
        drop(self.socket);
        let output = self.child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    }
}

fn greet(program: &Program) -> Option<Value> {
    program.ask(&json!({"hello": {"protocol": 3}}))
}

#[test]
fn the_program_serves_with_few_rights_and_ends_with_its_caller() {
    if !is_root() {
        return;
    }
    let program = Program::start(USER, "755");
    let hello = greet(&program).unwrap();
    assert_eq!(hello["hello"]["claim"]["uid"], USER);
    assert_eq!(hello["hello"]["instance"].as_str().unwrap().len(), 4);
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.child.id())).unwrap();
    // CHOWN, FOWNER, KILL, NET_ADMIN, NET_RAW, SYS_ADMIN, MKNOD; see capabilities(7).
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000008203029",
        "CapEff:\t0000000008203029",
        "CapBnd:\t0000000008203029",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Umask:\t0077",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let machine = "00c0ffee";
    let guest = json!({"machine": machine, "address": "10.217.0.2"});
    let changes = [
        json!({"allow-guest": guest}),
        json!({"make-tap": {"machine": machine, "uid": USER, "host-address": "10.217.0.1",
               "guest-address": "10.217.0.2", "mac": "02:ba:00:c0:ff:ee", "mtu": 1500}}),
        json!({"hold-forwarding": {"machine": machine}}),
        json!({"allow-nat": {"address": "10.217.0.2"}}),
        json!({"release-forwarding": {"machine": machine}}),
        json!({"forbid-nat": {"address": "10.217.0.2"}}),
        json!({"remove-tap": {"machine": machine}}),
        json!({"forbid-guest": guest}),
    ];
    for change in changes {
        let reply = program.ask(&json!({ "change": change }));
        assert_eq!(reply, Some(json!({"changed": "made"})), "{change}");
    }
    let foreign = program.ask(&json!({"change": {"allow-nat": {"address": "192.0.2.1"}}}));
    assert_eq!(foreign.unwrap()["error"][0]["kind"], "denied");
    let (code, text) = program.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("made {\"make-tap\""), "{text}");
    assert!(text.contains("refused {\"allow-nat\""), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn a_caller_of_another_user_is_rejected() {
    if !is_root() {
        return;
    }
    for stranger in [0, USER + 1] {
        let program = Program::start(stranger, "755");
        assert_eq!(greet(&program), None, "user {stranger} is served");
        let (_, text) = program.end();
        assert!(text.contains("rejected"), "{text}");
    }
}

#[test]
fn a_program_that_another_could_write_does_not_serve() {
    if !is_root() {
        return;
    }
    for mode in ["777", "757"] {
        let program = Program::start(USER, mode);
        assert_eq!(greet(&program), None, "mode {mode}");
        let (code, text) = program.end();
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("`/run/programs` is writable"), "{text}");
    }
}

#[test]
fn a_program_that_is_started_by_hand_says_so() {
    if !is_root() {
        return;
    }
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_banger-root"))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, text) = run(&["serve", "--uid", "64002"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("error: "), "{text}");
    for words in [
        &["serve"][..],
        &["serve", "--uid", "-1"],
        &["serve", "--uid", "64002", "--config", "/tmp/x"],
        &["run", "/bin/sh"],
    ] {
        assert_eq!(run(words).0, Some(2), "{words:?}");
    }
    // It refuses before it touches anything of this machine.
    let words = [
        "install",
        "--uid",
        "0",
        "--state",
        "/root/none",
        "--cli",
        "banger",
    ];
    let (code, text) = run(&words);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not an absolute path"), "{text}");
}
