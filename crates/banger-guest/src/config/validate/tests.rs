use super::super::{Content, HostsLine};
use super::*;

fn config() -> GuestConfig {
    let mut config = GuestConfig::new("calm-otter", &"0a".repeat(16), "/dev/vda");
    config.modules = vec!["/modules/virtio_blk.ko".into()];
    config.disks = vec![Disk {
        device: "/dev/vdb".into(),
        mount: "/root".into(),
        seed: true,
        grow: true,
    }];
    config.network = Some(Network {
        interface: "eth0".into(),
        address: [10, 215, 0, 5].into(),
        prefix: 32,
        gateway: [10, 215, 0, 1].into(),
        on_link_gateway: true,
        mtu: None,
    });
    config.files = vec![file("/run/banger/authorized_keys")];
    config
}

fn file(path: &str) -> File {
    let content = Content::Text("ssh-ed25519 AAAA\n".into());
    File {
        path: path.into(),
        mode: 0o600,
        uid: 0,
        gid: 0,
        content,
    }
}

fn problem(change: impl FnOnce(&mut GuestConfig)) -> String {
    let mut config = config();
    change(&mut config);
    config
        .validate()
        .map_or_else(|error| error.to_string(), |()| "none".into())
}

#[test]
fn what_is_written_is_read_back() {
    let json = config().to_json().unwrap();
    assert_eq!(GuestConfig::from_json(&json).unwrap(), config());
}

#[test]
fn another_schema_is_refused_before_anything_else() {
    let refused = GuestConfig::from_json(br#"{"schema":2,"colour":"red"}"#).unwrap_err();
    assert_eq!(refused, ConfigError::Schema { found: 2 });
}

#[test]
fn an_unknown_field_is_refused() {
    let mut json = serde_json::to_value(config()).unwrap();
    json["colour"] = "red".into();
    let refused = GuestConfig::from_json(json.to_string().as_bytes()).unwrap_err();
    assert!(
        refused.to_string().contains("unknown field `colour`"),
        "{refused}"
    );
}

#[test]
fn paths_that_are_not_plain_are_refused() {
    for path in [
        "run/x",
        "/run/../etc/x",
        "/run//x",
        "/run/./x",
        "/run/x/",
        "/run/a\nb",
        "/",
    ] {
        let found = problem(|config| config.files = vec![file(path)]);
        assert!(found.contains("files.path"), "{path:?}: {found}");
    }
    let long = format!("/{}", "x".repeat(LONGEST_PATH));
    assert!(problem(|config| config.disks[0].mount = long).contains("longer"));
}

#[test]
fn two_writers_of_one_path_are_refused() {
    let twice = file("/run/banger/authorized_keys");
    assert!(problem(|config| config.files.push(twice)).contains("twice"));
}

#[test]
fn a_file_that_a_user_may_edit_is_never_written_at_each_start() {
    for path in [
        "/etc/hosts",
        "/root/.ssh/authorized_keys",
        "/etc/ssh/sshd_config.d/50-me.conf",
    ] {
        let found = problem(|config| config.files = vec![file(path)]);
        assert!(found.contains("files.path"), "{path}: {found}");
    }
    for path in [
        "/run/motd.d/banger",
        "/etc/ssh/sshd_config.d/10-banger.conf",
    ] {
        assert_eq!(problem(|config| config.files = vec![file(path)]), "none");
    }
}

#[test]
fn names_cannot_become_a_second_line() {
    let line = HostsLine {
        address: [127, 0, 1, 1].into(),
        names: vec!["x".into(), "x\n10.0.0.1 y".into()],
    };
    assert!(problem(|config| config.hosts = vec![line]).contains("hosts.names"));
    let search = vec!["lan\nnameserver 10.0.0.1".into()];
    assert!(problem(|config| config.dns.search = search).contains("dns.search"));
    assert!(problem(|config| config.hostname = "a b".into()).contains("hostname"));
    assert!(problem(|config| config.machine_id = "xyz".into()).contains("machine_id"));
    let former = problem(|config| config.former_machine_ids = vec!["a\nb".into()]);
    assert!(former.contains("former_machine_ids"), "{former}");
}

#[test]
fn devices_and_networks_are_checked() {
    assert!(problem(|config| config.root.device = "/etc/passwd".into()).contains("device"));
    assert!(problem(|config| config.disks[0].device = "/dev/vda".into()).contains("twice"));
    let change = |change: fn(&mut Network)| {
        problem(|config| config.network.as_mut().into_iter().for_each(change))
    };
    assert!(change(|network| network.prefix = 33).contains("prefix"));
    assert!(change(|network| network.mtu = Some(10)).contains("mtu"));
    assert!(change(|network| network.interface = "eth0/../x".into()).contains("interface"));
}

#[test]
fn content_is_text_where_it_can_be_and_never_shown() {
    assert_eq!(Content::from_bytes(b"abc"), Content::Text("abc".into()));
    let bytes = [0xff, 0xfe, 0];
    assert_eq!(Content::from_bytes(&bytes).bytes().unwrap(), bytes);
    assert_eq!(
        format!("{:?}", Content::from_bytes(b"secret")),
        "Text(6 bytes)"
    );
    let broken = File {
        content: Content::Base64("%".into()),
        ..file("/run/x")
    };
    assert!(problem(|config| config.files = vec![broken]).contains("files.content"));
}

#[test]
fn resolvers_read_like_a_resolv_conf() {
    let resolvers = Resolvers {
        servers: vec![[9, 9, 9, 9].into(), "2620:fe::fe".parse().unwrap()],
        search: vec!["lan".into(), "example.org".into()],
    };
    let text = resolvers.resolv_conf();
    assert!(text.ends_with("nameserver 9.9.9.9\nnameserver 2620:fe::fe\nsearch lan example.org\n"));
}
