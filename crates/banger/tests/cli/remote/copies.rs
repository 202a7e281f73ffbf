//! Copies between this machine and the VMs of another one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::machines::{TwoMachines, two_machines};

/// How long a batch may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn with_vm() -> Option<TwoMachines> {
    let two = two_machines("")?;
    two.done(&["--host", "lab", "vm", "create", "web"]);
    Some(two)
}

/// A directory with a file, and its path.
fn tree(two: &TwoMachines) -> String {
    let tree = two.client.path("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("file"), b"a\0b").unwrap();
    tree.to_str().unwrap().to_owned()
}

/// A file of the VM.
fn read(two: &TwoMachines, file: &str) -> Vec<u8> {
    let copy = two.client.path("copy");
    let place = copy.to_str().unwrap();
    two.done(&["--host", "lab", "vm", "cp", &format!("web:{file}"), place]);
    std::fs::read(copy).unwrap()
}

#[test]
fn files_are_copied_from_this_machine_and_to_it() {
    let Some(two) = with_vm() else { return };
    let from = tree(&two);
    let back = two.client.path("back");
    let to = back.to_str().unwrap();
    two.done(&["--host", "lab", "vm", "cp", "-r", &from, "web:tree"]);
    two.done(&["--host", "lab", "vm", "cp", "-r", "web:tree", to]);
    assert_eq!(std::fs::read(back.join("file")).unwrap(), b"a\0b");
    let missing = two.client.path("missing");
    let missing = missing.to_str().unwrap();
    let error = two.refused(&["--host", "lab", "vm", "cp", missing, "web:"]);
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn an_archive_goes_there_and_comes_back_through_standard_input_and_output() {
    let Some(two) = with_vm() else { return };
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("tree", tree(&two)).unwrap();
    let archive = archive.into_inner().unwrap();
    let mut unpack = two.command(&["--host", "lab", "vm", "cp", "-", "web:"]);
    let mut unpack = unpack.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = unpack.stdin.take().unwrap();
    stdin.write_all(&archive).unwrap();
    drop(stdin);
    let outcome = unpack.wait_with_output().unwrap();
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(read(&two, "tree/file"), b"a\0b");
    let mut pack = two.command(&["--host", "lab", "vm", "cp", "web:tree", "-"]);
    let packed = pack.output().unwrap();
    assert!(packed.status.success(), "{packed:?}");
    let mut packed = tar::Archive::new(packed.stdout.as_slice());
    let mut found = packed.entries().unwrap().map(Result::unwrap);
    let mut file = found
        .find(|it| it.path().unwrap().ends_with("tree/file"))
        .unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, b"a\0b");
}

#[test]
fn a_vm_there_copies_to_another_one() {
    let Some(two) = with_vm() else { return };
    let from = tree(&two);
    two.done(&["--host", "lab", "vm", "create", "db"]);
    two.done(&["--host", "lab", "vm", "cp", "-r", &from, "db:tree"]);
    two.done(&["--host", "lab", "vm", "cp", "-r", "db:tree", "web:"]);
    assert_eq!(read(&two, "tree/file"), b"a\0b");
}

/// The lines of a `vm sync`, as they come.
fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// A laptop that slept has lost its connection, and what changed meanwhile is carried over.
#[test]
fn a_directory_is_kept_the_same_there_also_after_a_lost_connection() {
    let Some(two) = with_vm() else { return };
    let from = tree(&two);
    let words = ["--host", "lab", "vm", "sync", &from, "web:app", "--watch"];
    let mut sync = two.command(&words);
    let mut sync = sync.stdout(Stdio::piped()).spawn().unwrap();
    let told = lines(sync.stdout.take().unwrap());
    let until = |wanted: &str| {
        let mut before = Vec::new();
        while !before.last().is_some_and(|it: &String| it.contains(wanted)) {
            let line = told.recv_timeout(PATIENCE);
            before.push(line.unwrap_or_else(|_| panic!("no `{wanted}`: {before:?}")));
        }
    };
    until("1 file,");
    assert_eq!(read(&two, "app/file"), b"a\0b");
    for master in two.masters() {
        kill_process(master, Signal::KILL).unwrap();
    }
    std::fs::write(two.client.path("tree/file"), "later").unwrap();
    until("1 file,");
    assert_eq!(read(&two, "app/file"), b"later");
    sync.kill().unwrap();
    sync.wait().unwrap();
}
