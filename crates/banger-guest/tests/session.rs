//! The program beside a command of `banger vm ssh`, as sshd would start it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts programs, and waits for one to end"
)]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The program under the name that selects its role as a session.
fn session() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banger-guest"));
    command.arg0("banger-session").env("SHELL", "/bin/sh");
    command
}

fn line(line: &str) -> Output {
    session().env("BANGER_COMMAND", line).output().unwrap()
}

/// A link with the name of the program in the guest, for a shell to start.
fn link(folder: &Path) -> PathBuf {
    let link = folder.join("banger-session");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_banger-guest"), &link).unwrap();
    link
}

/// A stand-in for sshd: the leader of a group, whose end is that of the connection.
fn connection(folder: &Path, line: &str) -> Child {
    let script = format!("'{}'; true", link(folder).display());
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", &script]);
    command.env("SHELL", "/bin/sh").env("BANGER_COMMAND", line);
    // A process that a failed test leaves holds no stream of the test runner.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The process that wrote its number into this file.
fn written(path: &Path) -> Pid {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until("the command starts", || read().ends_with('\n'));
    Pid::from_raw(read().trim().parse().unwrap()).unwrap()
}

#[test]
fn the_status_is_the_commands_and_of_a_signal_as_a_shell_has_it() {
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
        ("kill -HUP $$", 129),
    ] {
        assert_eq!(line(script).status.code(), Some(status), "{script}");
    }
}

#[test]
fn a_line_is_the_shells_and_its_variable_is_gone() {
    let output = line("printf '<%s>' \"${BANGER_COMMAND-none}\" 'a b'; echo told >&2");
    assert_eq!(output.stdout, b"<none><a b>");
    assert_eq!(output.stderr, b"told\n");
}

#[test]
fn a_command_in_a_file_gets_exactly_its_words_and_the_file_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("command");
    std::fs::write(&path, b"printf\0<%s>\0a b\0\0*\0it's\n\0\xff\0").unwrap();
    let output = session().arg("-f").arg(&path).output().unwrap();
    assert_eq!(output.stdout, b"<a b><><*><it's\n><\xff>");
    assert!(!path.exists());
    let again = session().arg("-f").arg(&path).output().unwrap();
    assert_eq!(again.status.code(), Some(126));
    std::fs::write(&path, b"printf\0cut o").unwrap();
    let cut = session().arg("-f").arg(&path).output().unwrap();
    assert_eq!(cut.status.code(), Some(126), "{cut:?}");
}

#[test]
fn more_arguments_than_the_limit_of_the_stack_allows_are_given_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("command");
    let word = "x".repeat(100_000);
    let mut bytes = b"sh\0-c\0echo $#\0sh\0".to_vec();
    for _ in 0..30 {
        bytes.extend(word.as_bytes());
        bytes.push(0);
    }
    std::fs::write(&path, bytes).unwrap();
    let output = session().arg("-f").arg(&path).output().unwrap();
    assert_eq!(output.stdout, b"30\n", "{output:?}");
}

#[test]
fn a_command_that_cannot_run_has_a_shells_status_and_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("command");
    for (name, status) in [("/no/such/program", 127), ("/etc/passwd", 126)] {
        std::fs::write(&path, format!("{name}\0")).unwrap();
        let output = session().arg("-f").arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn a_connection_that_goes_away_hangs_the_command_and_its_children_up() {
    let folder = tempfile::tempdir().unwrap();
    let (shell, child) = (folder.path().join("shell"), folder.path().join("child"));
    let script = format!(
        "echo $$ > {}; sh -c 'echo $$ > {}; exec sleep 100'; true",
        shell.display(),
        child.display()
    );
    let mut sshd = connection(folder.path(), &script);
    let (shell, child) = (written(&shell), written(&child));
    sshd.kill().unwrap();
    sshd.wait().unwrap();
    for process in [shell, child] {
        wait_until("it is hung up", || test_kill_process(process).is_err());
    }
}

#[test]
fn what_ignores_the_hang_up_outlives_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, other) = (folder.path().join("kept"), folder.path().join("other"));
    let script = format!(
        "nohup sh -c 'echo $$ > {}; exec sleep 100' & echo $$ > {}; exec sleep 100",
        kept.display(),
        other.display()
    );
    let mut sshd = connection(folder.path(), &script);
    let (kept, other) = (written(&kept), written(&other));
    sshd.kill().unwrap();
    sshd.wait().unwrap();
    wait_until("the other is hung up", || test_kill_process(other).is_err());
    assert!(test_kill_process(kept).is_ok());
    kill_process(kept, Signal::KILL).unwrap();
}

#[test]
fn a_stream_that_the_command_closes_is_closed() {
    let mut child = session()
        .env("BANGER_COMMAND", "exec >&-; read wait")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    // The read returns while the command still waits.
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut said).unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    drop(child.stdin.take());
    child.wait().unwrap();
}
