use banger_api::Mib;

use super::*;

mod files;

fn load(text: &[u8]) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let found = Config::load(&path);
    // The folder's name is random, so the messages are compared without it.
    let value_of = format!("{}/", folder.path().display());
    found.map_err(|mut error| {
        assert_eq!(error.code, Code::Invalid);
        error.message = error.message.replace(&value_of, "");
        error
            .also
            .iter_mut()
            .for_each(|also| *also = also.replace(&value_of, ""));
        error
    })
}

fn message(text: &str) -> String {
    load(text.as_bytes()).unwrap_err().message
}

#[test]
fn a_file_that_is_not_there_means_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        Config::load(&folder.path().join("config.toml")).unwrap(),
        Config::default()
    );
    assert_eq!(
        Config::load(&folder.path().join("no/config.toml")).unwrap(),
        Config::default()
    );
    assert_eq!(load(b"").unwrap(), Config::default());
    assert_eq!(load(b"# nothing\n").unwrap(), Config::default());
}

#[test]
fn every_key_is_taken() {
    let config = load(
        br#"
        log_level = "debug"
        runtime_dir = "/opt/bundle"
        hypervisor = "qemu"
        root_disk = "dm-snapshot"
        disk_cache = "unsafe"
        network = "user"
        subnet = "172.20.0.0/24"
        nat = true
        dns = ["9.9.9.9", "1.1.1.1"]
        dns_port = 0
        ssh_key_path = "/home/ada/.ssh/id"
        namegen_path = "/usr/share/dict/words"
        default_rootfs = "trixie-2.1"
        default_kernel = "/opt/linux/vmlinux"
        default_modules_dir = "/opt/linux/modules"
        default_base_rootfs = "docker-dev"
        default_packages_file = "/home/ada/packages.apt"
        customize_script = "/home/ada/customize"
        mirrors = { npm = "https://npm.example/", debian-security = "http://deb.example/security" }
        vcpu = 0x4
        memory = 1_024
        disk_size = "32G"
        system_disk_size = "8G"
        start_timeout_seconds = 300
        stop_timeout_seconds = 5
        shutdown_timeout_seconds = 90
        trash = true
        jailer = true
        qemu = "/opt/qemu"
        firecracker_bin = "/opt/firecracker"
        "#,
    )
    .unwrap();
    assert_eq!(
        config,
        Config {
            log_level: LogLevel::Debug,
            runtime_dir: Some("/opt/bundle".into()),
            hypervisor: HypervisorChoice::Qemu,
            root_disk: RootDiskChoice::DmSnapshot,
            disk_cache: DiskCache::Unsafe,
            network: NetworkChoice::User,
            subnet: Subnet {
                network: Ipv4Addr::new(172, 20, 0, 0),
                prefix: 24
            },
            dns: vec![IpAddr::from([9, 9, 9, 9]), IpAddr::from([1, 1, 1, 1])],
            dns_port: 0,
            ssh_key_path: Some("/home/ada/.ssh/id".into()),
            namegen_path: Some("/usr/share/dict/words".into()),
            image: "trixie-2.1".to_owned(),
            default_base_rootfs: Some("docker-dev".to_owned()),
            default_kernel: Some("/opt/linux/vmlinux".into()),
            default_modules_dir: Some("/opt/linux/modules".into()),
            default_packages_file: Some("/home/ada/packages.apt".into()),
            customize_script: Some("/home/ada/customize".into()),
            mirrors: Mirrors {
                npm: Some("https://npm.example/".to_owned()),
                debian_security: Some("http://deb.example/security".to_owned()),
                ..Mirrors::default()
            },
            spec: VmSpec {
                vcpu: 4,
                memory: Mib(1024),
                disk_size: Mib(32 << 10),
                system_disk_size: Mib(8 << 10),
                nat: true,
                ..VmSpec::default()
            },
            start_timeout_seconds: 300,
            stop_timeout_seconds: 5,
            shutdown_timeout_seconds: 90,
            trash: true,
            jailer: true,
            qemu: Some("/opt/qemu".into()),
            firecracker_bin: Some("/opt/firecracker".into()),
            renamed: Vec::new(),
            overrides: Overrides::new(),
            origins: config.origins.clone(),
        }
    );
}

#[test]
fn an_unknown_key_is_reported_with_its_position_and_a_suggestion() {
    assert_eq!(
        message("nat = true\n  memroy = 5\n"),
        "config.toml:2:3: `memroy = 5`: there is no key `memroy`; did you mean `memory`?"
    );
    assert_eq!(
        message("Disk-Size = 5"),
        "config.toml:1:1: `Disk-Size = 5`: there is no key `Disk-Size`; did you mean `disk_size`?"
    );
    assert_eq!(
        message("[network]\nmtu = 1\n"),
        "config.toml:1:1: `[network]`: `network` is a table; it takes \"auto\", \"tap\" or \"user\""
    );
    let error = load(b"colour = 1").unwrap_err();
    assert_eq!(
        error.message,
        "config.toml:1:1: `colour = 1`: there is no key `colour`"
    );
    assert!(
        error.hints[0].starts_with("the keys are log_level, runtime_dir, hypervisor, "),
        "{error:?}"
    );
}

#[test]
fn a_wrong_type_is_rejected_with_the_accepted_values() {
    assert_eq!(
        message("vcpu = \"two\""),
        "config.toml:1:8: `vcpu = \"two\"`: `vcpu` is \"two\"; it takes a whole number from 1 to 64"
    );
    assert_eq!(
        message("\n\nnat = \"yes\" # please"),
        "config.toml:3:7: `nat = \"yes\" # please`: `nat` is \"yes\"; it takes true or false"
    );
    assert_eq!(
        message("memory = 1.5"),
        "config.toml:1:10: `memory = 1.5`: `memory` is a number with a fraction; it takes a size \
         from 192M to 64T, such as \"2G\", or a number of MiB"
    );
    for (line, is) in [
        ("dns = \"9.9.9.9\"", "`dns` is \"9.9.9.9\""),
        ("dns = [9]", "`dns` has an item that is 9"),
        (
            "default_rootfs = 2026-11-23",
            "`default_rootfs` is a date or time",
        ),
        ("runtime_dir = [\"/x\"]", "`runtime_dir` is a list"),
        ("hypervisor = true", "`hypervisor` is true"),
    ] {
        assert!(message(line).contains(is), "{line}: {}", message(line));
    }
}

#[test]
fn a_value_out_of_range_is_rejected_with_the_range() {
    for bad in [
        "vcpu = 0",
        "vcpu = -1",
        "vcpu = 256",
        "vcpu = 99999999999999999999999999999999999999999",
        "memory = 0",
        "memory = -5",
        "memory = \"16X\"",
        "memory = \"100M\"",
        "memory = \"65T\"",
        "disk_size = \"0\"",
        "disk_size = \"-1G\"",
        "system_disk_size = 63",
        "dns_port = 65536",
        "dns_port = -1",
        "start_timeout_seconds = 0",
        "stop_timeout_seconds = 3601",
        "shutdown_timeout_seconds = 0",
        "shutdown_timeout_seconds = 301",
        "log_level = \"trace\"",
        "namegen_path = \"words\"",
        "hypervisor = \"xen\"",
        "root_disk = \"zfs\"",
        "disk_cache = \"writethrough\"",
        "network = \"bridge\"",
        "runtime_dir = \"here\"",
        "runtime_dir = \"\"",
        "runtime_dir = \"~/bundle\"",
        "qemu = \"qemu\"",
        "runtime_dir = \"/a\\u0000b\"",
        "ssh_key_path = \"/a\\nb\"",
        "default_rootfs = \"\"",
        "default_rootfs = \"../x\"",
        "default_rootfs = \"A\"",
        "default_rootfs = \"-x\"",
        "dns = [\"::1\"]",
        "dns = [\"127.0.0.53\"]",
        "dns = [\"0.0.0.0\"]",
        "dns = [\"name\"]",
        "dns = [\"9.9.9.9\", \"9.9.9.9\", \"9.9.9.9\", \"9.9.9.9\"]",
        "subnet = \"10.215.0.0\"",
        "subnet = \"10.215.0.0/7\"",
        "subnet = \"10.215.0.0/30\"",
        "subnet = \"10.215.0.0/x\"",
        "subnet = \"fd00::/64\"",
        "subnet = \"127.0.0.0/8\"",
        "subnet = \"169.254.0.0/16\"",
        "subnet = \"224.0.0.0/8\"",
        "subnet = \"0.0.0.0/8\"",
        "subnet = \"10.215.0.0/-9\"",
        "subnet = \"\"",
    ] {
        let message = message(bad);
        let key = bad.split(' ').next().unwrap();
        let begins = format!("config.toml:1:{}: ", key.len() + 4);
        assert!(message.starts_with(&begins), "{bad}: {message}");
        assert!(message.contains(&format!("`{key}` ")), "{bad}: {message}");
        assert!(message.contains("; it takes "), "{bad}: {message}");
        assert!(!message.chars().any(char::is_control), "{bad}: {message}");
    }
}

#[test]
fn a_subnet_with_host_bits_is_rejected_with_its_first_address() {
    assert!(message("subnet = \"10.215.3.0/20\"").contains(
        "`subnet` is \"10.215.3.0/20\", which begins at 10.215.0.0: write \"10.215.0.0/20\""
    ));
}

#[test]
fn an_older_name_is_accepted_with_a_warning_but_not_beside_the_new_one() {
    let config = load(b"bundle = \"/a\"\nfirecracker = \"/b\"\nimage = \"c\"\n").unwrap();
    assert_eq!(config.image, "c");
    assert_eq!(config.runtime_dir, Some("/a".into()));
    assert_eq!(config.firecracker_bin, Some("/b".into()));
    let warning = &config.renamed[0];
    assert!(warning.contains("is called `runtime_dir` now"), "{warning}");
    assert_eq!(config.renamed.len(), 3);
    let both = message("bundle = \"/a\"\nruntime_dir = \"/b\"\n");
    assert!(both.contains("the older name of `runtime_dir`"), "{both}");
}

#[test]
fn all_faults_are_reported_together_in_the_order_of_the_file() {
    let error = load(b"vcpu = 0\nnope = 1\nruntime_dir = 3\n").unwrap_err();
    assert!(error.message.starts_with("config.toml:1:8: "), "{error:?}");
    assert_eq!(error.also.len(), 2, "{error:?}");
    assert!(error.also[0].starts_with("config.toml:2:1: "), "{error:?}");
    assert!(error.also[1].starts_with("config.toml:3:15: "), "{error:?}");
}

#[test]
fn what_is_granted_holds_where_the_file_does_not_say() {
    let claim = banger_host::Claim {
        uid: 1000,
        user: "ada".to_owned(),
        state: "/home/ada/.local/state/banger".into(),
        subnet: "10.216.0.0/20".parse().unwrap(),
        dns_port: 42070,
    };
    let path = Path::new("config.toml");
    let granted = || Config::granted(&claim);
    let config = granted().parse(path, b"vcpu = 4").unwrap();
    assert_eq!((config.subnet, config.dns_port), (claim.subnet, 42070));
    assert_eq!(config.spec.vcpu, 4);
    let config = granted().parse(path, b"dns_port = 0").unwrap();
    assert_eq!((config.subnet, config.dns_port), (claim.subnet, 0));
    let nowhere = Path::new("/none/such/config.toml");
    assert_eq!(granted().overlaid(nowhere).unwrap(), granted());
}

#[test]
fn the_keys_are_those_that_the_client_knows() {
    let here: Vec<&str> = keys::values(&Config::default())
        .map(|(key, _)| key)
        .collect();
    assert_eq!(here, banger_api::configuration::KEYS);
}

fn overridden(file: &str, variables: &[(&str, &str)]) -> Result<Config> {
    let config = Config::default().parse(Path::new("c"), file.as_bytes())?;
    let overrides = variables
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    config.overridden(&overrides)
}

#[test]
fn a_variable_goes_before_the_file_and_each_value_says_where_it_comes_from() {
    let config = overridden(
        "memory = \"4G\"\nnat = true\n",
        &[("memory", "8G"), ("dns", "9.9.9.9, 1.1.1.1"), ("vcpu", "4")],
    )
    .unwrap();
    assert_eq!(config.spec.memory, Mib(8 << 10));
    assert_eq!((config.spec.vcpu, config.spec.nat), (4, true));
    assert_eq!(config.dns.len(), 2);
    let settings = config.settings();
    let value_of = |key: &str| {
        let setting = settings.iter().find(|it| it.key == key).unwrap();
        format!("{} from {}", setting.value, setting.origin)
    };
    assert_eq!(
        value_of("memory"),
        "\"8G\" from environment variable BANGER_MEMORY"
    );
    assert_eq!(value_of("nat"), "true from c:2");
    assert_eq!(value_of("hypervisor"), "\"auto\" from default");
    assert_eq!(
        value_of("dns"),
        "[\"9.9.9.9\",\"1.1.1.1\"] from environment variable BANGER_DNS"
    );
    assert_eq!(value_of("qemu"), "null from default");
    assert_eq!(
        Config::default().differences(&config),
        ["nat", "dns", "vcpu", "memory"]
    );
}

#[test]
fn every_invalid_variable_is_reported_by_name() {
    let error = overridden("", &[("nat", "yes"), ("vcpu", "0")]).unwrap_err();
    assert_eq!(
        error.message,
        "environment variable BANGER_NAT: `nat` is \"yes\"; it takes true or false"
    );
    assert_eq!(error.also.len(), 1, "{error:?}");
    assert!(error.also[0].starts_with("environment variable BANGER_VCPU: `vcpu` is 0"));
    assert_eq!(error.hints, ["unset BANGER_NAT"]);
}

#[test]
fn a_key_that_has_no_meaning_here_is_refused_with_the_reason() {
    let message = message("default_initrd = \"/boot/initrd.img\"\n");
    assert!(
        message.starts_with("config.toml:1:1: ") && message.contains("makes its own initramfs"),
        "{message}"
    );
}

#[test]
fn a_daemon_takes_over_what_it_can_and_says_what_waits() {
    let mut in_force = Config::default();
    let text = "memory = \"4G\"\nnat = true\nsubnet = \"10.9.0.0/20\"\nlog_level = \"warn\"\n";
    let on_disk = load(text.as_bytes()).unwrap();
    assert_eq!(in_force.take_over(&on_disk), ["subnet"]);
    assert_eq!(
        (in_force.spec.memory, in_force.spec.nat),
        (Mib(4 << 10), true)
    );
    assert_eq!(in_force.log_level, LogLevel::Warn);
}
