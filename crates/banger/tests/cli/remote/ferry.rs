//! Files between the two machines. banger on the other one is a stand-in, because a simulated host
//! has no files.

use super::machines::{TwoMachines, two_machines};
use crate::environment::program;
use crate::fake_daemon;

/// The stand-in's exported file: longer than a block, with zeros in it.
const EXPORTED: &str = "printf 'head'; head -c 300000 /dev/zero; printf 'tail'";

/// Two machines, of which the other one exports and imports files.
fn with_files() -> Option<TwoMachines> {
    let two = two_machines("")?;
    let vm = fake_daemon::web(&two.server).to_string();
    let line = format!(
        r#"for last; do :; done
case "$*" in
*--json*'vm export gone '*) echo '{{"code":"not-found","message":"there is no VM `gone`"}}' >&2; exit 1 ;;
*--json*'vm export cut '*) echo x > "$last"; chmod 0 "$last"; rm "$last"; mkdir "$last"
   echo '{{"path":"/there","digest":"d1","size_bytes":1}}' ;;
*--json*'vm export web '*) ({EXPORTED}) > "$last"
   echo '{{"path":"/there","digest":"d1","size_bytes":300008}}' ;;
*--json*'vm import'*) cp "$last" '{received}'; echo "$*" > '{words}'; echo '{vm}' ;;
*) exec {program} "$@" ;;
esac"#,
        received = two.server.path("received").display(),
        words = two.server.path("words").display(),
        program = program().display(),
    );
    two.server.script("banger", &line);
    // The directory for files in transit.
    std::fs::create_dir(two.server.path("tmp")).unwrap();
    Some(two)
}

/// The remaining files in transit, on both machines.
fn left(two: &TwoMachines) -> Vec<String> {
    let mut names = Vec::new();
    for folder in [two.client.path(""), two.server.path("tmp")] {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        names.extend(entries.map(|it| it.file_name().into_string().unwrap()));
    }
    names.retain(|name| name.contains(".new") || name.starts_with("banger."));
    names
}

#[test]
fn a_vm_is_exported_to_a_file_of_this_machine_and_imported_from_one() {
    let Some(two) = with_files() else { return };
    let run = two.done(&["--host", "lab", "vm", "export", "web", "web.banger"]);
    assert_eq!(run.stdout, "web is in web.banger, 1M\nits digest: d1\n");
    let file = two.client.path("web.banger");
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(bytes.len(), 300_008);
    assert!(bytes.starts_with(b"head\0") && bytes.ends_with(b"\0tail"));
    let error = two.refused(&["--host", "lab", "vm", "export", "web", "web.banger"]);
    assert!(error.contains("`web.banger` exists"), "{error}");
    assert!(error.contains("--force"), "{error}");
    two.done(&["--host", "lab", "vm", "export", "web", "web.banger", "-f"]);
    // The file returns under a name with characters that are special in a shell.
    let odd = two.client.path("it's a $(file)");
    std::fs::rename(file, &odd).unwrap();
    let odd = odd.to_str().unwrap();
    let run = two.done(&["--host", "lab", "vm", "import", odd, "--name", "copy"]);
    assert!(
        run.stdout.starts_with("web is running on lab\n"),
        "{run:#?}"
    );
    assert!(std::fs::read(two.server.path("received")).unwrap() == bytes);
    let words = std::fs::read_to_string(two.server.path("words")).unwrap();
    assert!(words.contains("--name=copy"), "{words}");
    assert_eq!(left(&two), [] as [String; 0]);
}

#[test]
fn what_fails_on_the_way_leaves_nothing() {
    let Some(two) = with_files() else { return };
    let error = two.refused(&["--host", "lab", "vm", "export", "gone", "gone.banger"]);
    assert!(error.contains("error: there is no VM `gone`"), "{error}");
    let error = two.refused(&["--host", "lab", "vm", "export", "cut", "cut.banger"]);
    assert!(
        error.contains("pass a file between this machine and `lab`"),
        "{error}"
    );
    for name in ["gone.banger", "cut.banger"] {
        assert!(!two.client.path(name).exists(), "{name}");
    }
    let error = two.refused(&["--host", "lab", "vm", "import", "absent.banger"]);
    assert!(error.contains("read `absent.banger`"), "{error}");
    let home = two.client.path("home");
    let image = ["image", "import", home.to_str().unwrap(), "--name", "x"];
    let error = two.refused(&[&["--host", "lab"][..], &image].concat());
    assert!(error.contains("only a file is sent to `lab`"), "{error}");
    assert!(!two.server.path("received").exists());
    assert_eq!(left(&two), [] as [String; 0]);
}
