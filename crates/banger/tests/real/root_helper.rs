//! An ordinary user with the root helper, which is started by hand if systemd does not run.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use serde_json::Value;

use crate::needs_real_vms;
use crate::ordinary_user::User;
use crate::world::{World, host};

/// The paths of root's side; a test does not touch an existing installation.
const INSTALLED: [&str; 2] = ["/usr/local/libexec/banger", "/etc/banger"];

const TUN: &str = "/dev/net/tun";

/// Root's side of banger for one user, installed for the test and removed after it.
struct Root<'w> {
    world: &'w World,
    uid: u32,
    serves: Child,
    /// The previous mode of `/dev/net/tun`; where udev runs, everybody may open it.
    tun: u32,
    granted: Value,
}

impl<'w> Root<'w> {
    fn install(user: &User, world: &'w World) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_banger")).with_file_name("banger-root");
        let output = Command::new(program)
            .args(["install", "--uid", &user.uid.to_string(), "--state"])
            .arg(world.state())
            .args(["--subnet", &world.network()])
            .args(["--dns-port", &world.dns_port.to_string()])
            .args(["--cli", env!("CARGO_BIN_EXE_banger")])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let tun = std::fs::metadata(TUN).unwrap().mode();
        std::fs::set_permissions(TUN, Permissions::from_mode(0o666)).unwrap();
        Self {
            world,
            uid: user.uid,
            serves: serve(user),
            tun,
            granted: serde_json::from_slice(&output.stdout).unwrap(),
        }
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        // After a failed test; root's side can be removed only when no VM needs it.
        let _ = self.world.run(&["vm", "delete", "--force", "mine"]);
        let _ = self.world.run(&["daemon", "stop"]);
        let _ = self.serves.kill();
        let _ = self.serves.wait();
        let _ = std::fs::set_permissions(TUN, Permissions::from_mode(self.tun));
        let _ = Command::new("/usr/local/libexec/banger/banger-root")
            .args(["uninstall", "--uid", &self.uid.to_string()])
            .status();
    }
}

/// Serves the socket as systemd's unit would.
fn serve(user: &User) -> Child {
    let folder = format!("/run/banger/{}", user.uid);
    std::fs::create_dir_all(&folder).unwrap();
    let path = format!("{folder}/root.sock");
    let _ = std::fs::remove_file(&path);
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path.as_str()).unwrap()).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(user.uid), None).unwrap();
    listen(&socket, 16).unwrap();
    Command::new("/usr/local/libexec/banger/banger-root")
        .args(["serve", "--uid", &user.uid.to_string()])
        .stdin(socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The verdict of one check of `doctor`.
fn verdict(world: &World, name: &str) -> Value {
    let report: Value = serde_json::from_str(&world.run(&["--json", "doctor"]).stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|it| it["name"] == name);
    check
        .unwrap_or_else(|| panic!("no {name}: {report}"))
        .clone()
}

pub(crate) fn an_ordinary_user_has_taps_nat_and_names_through_root() {
    needs_real_vms!();
    if INSTALLED.iter().any(|it| Path::new(it).exists()) {
        eprintln!(
            "SKIPPED: {}: a root helper is installed here",
            module_path!()
        );
        return;
    }
    let Some(user) = User::make() else {
        eprintln!("SKIPPED: {}: no user can be made here", module_path!());
        return;
    };
    let world = World::new(Some((user.uid, user.gid)));
    if let Some(reason) = world.out_of_reach() {
        eprintln!("SKIPPED: {}: {reason}", module_path!());
        return;
    }
    let absent = verdict(&world, "root helper");
    assert_eq!(absent["verdict"], "warn", "{absent}");
    assert_eq!(absent["hints"][0], "banger system install");
    world.must(&["daemon", "stop"]);

    let root = Root::install(&user, &world);
    assert_eq!(root.granted["uid"], user.uid);
    let served = verdict(&world, "root helper");
    assert_eq!(served["verdict"], "pass", "{served}");
    assert_eq!(world.json(&["daemon", "status"])["mode"], "root-helper");
    let create = ["vm", "create", "--name", "mine", "--nat", "--memory", "512"];
    world.must(&[&create[..], &["--disk-size", "512M"]].concat());
    let view = world.show("mine");
    assert_eq!(view["network"], "tap");
    assert_eq!(view["address"], world.address(2));
    let pid = view["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let own = format!("Uid:\t{0}\t{0}\t{0}\t{0}", user.uid);
    assert!(status.contains(&own), "{status}");
    assert_eq!(world.sh("mine", "hostname"), "mine");
    let outside = "ip route get 198.51.100.1";
    assert!(world.sh("mine", outside).contains(&world.address(1)));
    assert!(world.table().starts_with("banger_"));
    world.must(&["vm", "set", "mine", "--no-nat"]);
    world.must(&["vm", "set", "mine", "--nat"]);

    // After a restart the helper is found again.
    let mut root = root;
    root.serves.kill().unwrap();
    root.serves.wait().unwrap();
    root.serves = serve(&user);
    world.must(&["vm", "restart", "mine"]);
    assert_eq!(world.sh("mine", "hostname"), "mine");
    world.must(&["vm", "delete", "--force", "mine"]);
    let id = view["id"].as_str().unwrap();
    assert!(!host("ip", &["-o", "link"]).contains(id));
    drop(root);
    for path in INSTALLED {
        assert!(!Path::new(path).exists(), "{path} is left");
    }
}
