//! Installations into folders of a test's own.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;
use crate::command::Command;
use crate::linux::testing::is_root;

/// A user that every host has.
const UID: u32 = 65534;

/// The systemd commands that each test has run.
static COMMANDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[expect(clippy::unnecessary_wraps, reason = "as it is where systemd runs")]
fn note_command(command: &Command) -> Result<()> {
    COMMANDS.lock().unwrap().push(command.to_string());
    Ok(())
}

struct TestRoot {
    folder: tempfile::TempDir,
    paths: Paths,
}

impl TestRoot {
    fn new() -> Self {
        // `/tmp` is unsuitable, because every user may write there.
        let folder = tempfile::Builder::new()
            .prefix("banger-test-")
            .tempdir_in("/run")
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let of = |name: &str| folder.path().join(name);
        fs::create_dir(of("units")).unwrap();
        fs::create_dir(of("rules")).unwrap();
        fs::create_dir(of("home")).unwrap();
        chown(of("home"), Some(UID), Some(UID)).unwrap();
        fs::write(of("banger"), "").unwrap();
        fs::set_permissions(of("banger"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(of("banger"), of("bangerd")).unwrap();
        fs::copy(of("banger"), of("banger-root")).unwrap();
        let paths = Paths {
            programs: of("libexec"),
            claims: of("claims"),
            run: of("run"),
            units: of("units"),
            rules: of("rules"),
            systemd: Some(note_command),
        };
        Self { folder, paths }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self) -> InstallRequest {
        InstallRequest {
            uid: UID,
            state: self.path("home/state"),
            cli: self.path("banger"),
            ..InstallRequest::default()
        }
    }

    fn install(&self, request: &InstallRequest) -> Result<Installation> {
        install_in(&self.paths, request, &mut |_| {})
    }

    /// All files below the root, with their modes and contents.
    fn everything(&self) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut todo = vec![self.folder.path().to_owned()];
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                if meta.is_dir() {
                    todo.push(path.clone());
                }
                let contents = fs::read(&path).unwrap_or_default();
                found.push((path, meta.mode(), contents));
            }
        }
        found.sort();
        found
    }
}

/// Writes a claim of another user.
fn claim_of(place: &TestRoot, uid: u32, subnet: &str, dns_port: u16) {
    let claim = Claim {
        uid,
        user: format!("user{uid}"),
        state: format!("/home/{uid}").into(),
        subnet: subnet.parse().unwrap(),
        dns_port,
    };
    fs::create_dir_all(&place.paths.claims).unwrap();
    let path = place.paths.claim(uid);
    fs::write(&path, serde_json::to_vec(&claim).unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn an_installation_is_whole_and_goes_whole() {
    if !is_root() {
        return;
    }
    let place = TestRoot::new();
    let before = place.everything();
    let placed = place.install(&place.request()).unwrap();
    assert_eq!(placed.programs.len(), 1);
    let program = place.path("libexec/banger-root");
    assert_eq!(placed.programs[0].path, program);
    assert_eq!(fs::metadata(&program).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(
        fs::read(&program).unwrap(),
        fs::read("/proc/self/exe").unwrap()
    );
    let read = Claim::read(&place.paths.claim(UID), UID).unwrap();
    assert_eq!(read, placed.claim);
    let json = serde_json::to_value(&placed).unwrap();
    for key in ["uid", "user", "state", "subnet", "dns_port", "programs"] {
        assert!(json.get(key).is_some(), "{json}");
    }
    let shutdown = place.path(&format!("units/banger-shutdown@{UID}.service"));
    let unit = fs::read_to_string(shutdown).unwrap();
    assert!(unit.contains("vm stop --all --host-shutdown"), "{unit}");
    assert!(unit.contains("BANGER_STATE="), "{unit}");
    let firewall = place.path(&format!("units/banger-firewall@{UID}.service"));
    let unit = fs::read_to_string(firewall).unwrap();
    for line in [
        "ExecStart=\"/usr/local/libexec/banger/banger-root\" restore",
        "PartOf=nftables.service",
        "ReloadPropagatedFrom=nftables.service",
    ] {
        assert!(unit.lines().any(|it| it == line), "no `{line}` in {unit}");
    }
    assert!(place.path("rules/56-banger.rules").exists());
    let port = place.path(&format!("units/banger-port@{UID}.socket"));
    let unit = fs::read_to_string(port).unwrap();
    let number = placed.claim.as_ref().unwrap().dns_port;
    for line in [
        format!("ListenDatagram=127.0.0.1:{number}"),
        format!("ListenStream=127.0.0.1:{number}"),
        format!("ListenSequentialPacket=/run/banger/{UID}/port.sock"),
        format!("SocketUser={UID}"),
        "SocketMode=0600".to_owned(),
    ] {
        assert!(unit.lines().any(|it| it == line), "{line}: {unit}");
    }
    // The state after a run that was interrupted in the middle of a file.
    let after = place.everything();
    fs::write(place.path("libexec/.banger-root.new"), "half").unwrap();
    fs::write(place.path("claims/.65534.json.new"), "half").unwrap();
    fs::remove_file(&program).unwrap();
    assert_eq!(place.install(&place.request()).unwrap(), placed);
    assert_eq!(place.everything(), after);
    for _ in 0..2 {
        uninstall_in(&place.paths, UID, &mut |_| {}).unwrap();
        assert_eq!(place.everything(), before);
    }
    let commands = COMMANDS.lock().unwrap().join("\n");
    assert!(
        commands.contains("loginctl enable-linger nobody"),
        "{commands}"
    );
    for words in ["disable --now", "reset-failed"] {
        let words = format!("{words} banger-shutdown@{UID}.service");
        assert!(commands.contains(&words), "{commands}");
    }
}

#[test]
fn without_systemd_there_are_no_units() {
    if !is_root() {
        return;
    }
    let mut place = TestRoot::new();
    place.paths.systemd = None;
    let mut said = Vec::new();
    install_in(&place.paths, &place.request(), &mut |text| {
        said.push(text.to_owned());
    })
    .unwrap();
    assert_eq!(fs::read_dir(place.path("units")).unwrap().count(), 0);
    assert!(
        said.iter().any(|it| it.contains("systemd is not running")),
        "{said:?}"
    );
}

#[test]
fn what_is_asked_for_wrongly_changes_nothing() {
    if !is_root() {
        return;
    }
    let place = TestRoot::new();
    fs::write(place.path("text"), "#!/bin/sh\nexec /bin/sh\n").unwrap();
    fs::set_permissions(place.path("text"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(place.path("text"), place.path("theirs")).unwrap();
    fs::create_dir(place.path("alone")).unwrap();
    fs::copy(place.path("text"), place.path("alone/banger")).unwrap();
    std::os::unix::fs::symlink(place.path("theirs"), place.path("link")).unwrap();
    chown(place.path("theirs"), Some(UID), Some(UID)).unwrap();
    claim_of(&place, 1001, "10.215.0.0/20", 42069);
    let before = place.everything();
    let good = place.request();
    type Change = Box<dyn Fn(&mut InstallRequest)>;
    let root_with_cli = |cli: PathBuf| -> Change {
        Box::new(move |it| {
            (it.uid, it.state) = (0, "/root/state".into());
            it.cli = cli.clone();
        })
    };
    let wrong: Vec<(&str, Change)> = vec![
        (
            "`--dns-port` is for a user",
            Box::new(|it| {
                it.uid = 0;
                it.dns_port = Some(5300);
            }),
        ),
        ("belongs to user 65534", root_with_cli(place.path("theirs"))),
        ("belongs to user 65534", root_with_cli(place.path("link"))),
        ("bangerd", root_with_cli(place.path("alone/banger"))),
        ("not belong to root", Box::new(|it| it.uid = 0)),
        ("number", Box::new(|it| it.uid = 3_999_999_999)),
        ("absolute", Box::new(|it| it.state = "state".into())),
        (
            "belongs to user 0",
            Box::new(|it| it.state = "/root".into()),
        ),
        (
            "does not exist",
            Box::new(|it| it.state = "/root/state".into()),
        ),
        ("--cli", Box::new(|it| it.cli = "banger".into())),
        (
            "--cli",
            Box::new({
                let absent = place.path("nowhere/banger");
                move |it| it.cli = absent.clone()
            }),
        ),
        (
            "ELF",
            Box::new({
                let text = place.path("text");
                move |it| it.firecracker = Some(text.clone())
            }),
        ),
        (
            "nowhere",
            Box::new({
                let absent = place.path("nowhere");
                move |it| it.jailer = Some(absent.clone())
            }),
        ),
        (
            "static",
            Box::new(|it| it.jailer = Some("/bin/true".into())),
        ),
        (
            "regular",
            Box::new(|it| it.jailer = Some("/dev/null".into())),
        ),
        (
            "user1001 has",
            Box::new(|it| it.subnet = "10.215.8.0/24".parse().ok()),
        ),
        (
            "loopback",
            Box::new(|it| it.subnet = "127.0.0.0/20".parse().ok()),
        ),
        (
            "multicast",
            Box::new(|it| it.subnet = "239.0.0.0/20".parse().ok()),
        ),
        ("to user user1001", Box::new(|it| it.dns_port = Some(42069))),
    ];
    for (word, change) in wrong {
        let mut request = good.clone();
        change(&mut request);
        let error = place.install(&request).unwrap_err();
        let mut text = format!("{error} {:?}", error.hints());
        let mut below = std::error::Error::source(&error);
        while let Some(cause) = below {
            text = format!("{text}: {cause}");
            below = cause.source();
        }
        assert!(text.contains(word), "{word}: {text}");
        let after: Vec<_> = place.everything();
        let lock = place.path("claims/lock");
        let after: Vec<_> = after.into_iter().filter(|it| it.0 != lock).collect();
        assert_eq!(after.len(), before.len(), "{word}");
    }
}

#[test]
fn users_have_networks_and_ports_of_their_own() {
    if !is_root() {
        return;
    }
    let place = TestRoot::new();
    let install = |request: &InstallRequest| place.install(request).unwrap().claim.unwrap();
    let first = install(&place.request());
    fs::remove_file(place.paths.claim(UID)).unwrap();
    claim_of(&place, 1001, &first.subnet.to_string(), first.dns_port);
    let second = install(&place.request());
    assert!(!second.subnet.overlaps(first.subnet));
    assert_ne!(second.dns_port, first.dns_port);
    // The user keeps the current values, and gets the requested ones.
    claim_of(&place, 1001, "192.168.77.0/24", 1);
    assert_eq!(install(&place.request()), second);
    let request = InstallRequest {
        subnet: "172.31.240.0/20".parse().ok(),
        dns_port: Some(5300),
        ..place.request()
    };
    let third = install(&request);
    assert_eq!(
        (Some(third.subnet), Some(third.dns_port)),
        (request.subnet, request.dns_port)
    );
    // The other user's files stay when one user is uninstalled.
    uninstall_in(&place.paths, UID, &mut |_| {}).unwrap();
    assert!(place.paths.claim(1001).exists());
    assert!(place.path("libexec/banger-root").exists());
    uninstall_in(&place.paths, 1001, &mut |_| {}).unwrap();
    assert!(!place.path("claims").exists());
}

#[test]
fn root_s_own_daemon_has_units_that_stop_its_vms_and_put_its_firewall_back_and_nothing_else() {
    if !is_root() {
        return;
    }
    let place = TestRoot::new();
    claim_of(&place, 1001, "10.215.0.0/20", 42069);
    let before = place.everything();
    let request = InstallRequest {
        uid: 0,
        state: "/root/.local/state/banger".into(),
        ..place.request()
    };
    let placed = place.install(&request).unwrap();
    assert_eq!(
        serde_json::to_string(&placed).unwrap(),
        r#"{"programs":[]}"#
    );
    let text = fs::read_to_string(place.path("units/banger-shutdown@0.service")).unwrap();
    assert!(
        text.contains("User=0\n") && text.contains("HOME=/root"),
        "{text}"
    );
    assert!(!text.contains("BANGER_STATE"), "{text}");
    let text = fs::read_to_string(place.path("units/banger-firewall@0.service")).unwrap();
    assert!(text.contains("banger-root\" restore"), "{text}");
    assert_eq!(place.everything().len(), before.len() + 2);
    // Removing root's part keeps the rest of another user's installation.
    uninstall_in(&place.paths, 0, &mut |_| {}).unwrap();
    assert_eq!(place.everything(), before);
    let mut said = Vec::new();
    uninstall_in(&place.paths, 0, &mut |it| said.push(it.to_owned())).unwrap();
    assert_eq!(said, ["nothing is installed"]);
}

#[test]
fn a_folder_that_another_may_write_gets_no_program_of_roots() {
    if !is_root() {
        return;
    }
    let mut place = TestRoot::new();
    place.paths.programs = place.path("home/libexec");
    let error = place.install(&place.request()).unwrap_err();
    assert!(error.to_string().contains("user 65534"), "{error}");
    assert!(!Path::new(&place.path("home/libexec/banger-root")).exists());
}
