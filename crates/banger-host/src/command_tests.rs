use std::time::Duration;

use crate::Kind;

use super::*;

fn shell(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

#[test]
fn what_is_given_to_read_comes_back_even_when_it_is_more_than_a_pipe_holds() {
    let much = vec![b'x'; 1 << 20];
    let output = Command::new("cat").stdin(much.clone()).run().unwrap();
    assert_eq!(output.stdout, much);
}

#[test]
fn a_program_that_reads_nothing_does_not_fail_for_it() {
    let output = Command::new("true").stdin(vec![0; 1 << 20]).run().unwrap();
    assert!(output.stdout.is_empty());
}

#[test]
fn the_error_shows_the_whole_command_how_it_ended_and_its_last_words() {
    let error = shell("for i in 1 2 3 4 5 6 7 8; do echo line $i >&2; done; exit 3");
    let error = error.run().unwrap_err();
    assert!(
        error.to_string().starts_with("`sh -c 'for i in 1"),
        "{error}"
    );
    assert!(
        error.to_string().ends_with("ended with status 3"),
        "{error}"
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "line 3; line 4; line 5; line 6; line 7; line 8");
}

#[test]
fn a_program_that_does_not_end_in_time_is_ended() {
    let hangs = Command::new("cat").input_file("/dev/zero");
    let hangs = hangs.output_file("/dev/null");
    let error = hangs
        .patience(Duration::from_millis(50))
        .output()
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(
        error.to_string().contains("timed out after 0.05 s"),
        "{error}"
    );
    let quick = shell("echo done").patience(Duration::from_secs(60));
    assert_eq!(quick.output().unwrap().text(), "done\n");
}

#[test]
fn a_signal_is_distinguished_from_a_status() {
    let error = shell("kill -KILL $$").run().unwrap_err();
    assert!(
        error.to_string().ends_with("was ended by signal 9"),
        "{error}"
    );
}

#[test]
fn a_program_that_is_not_there_is_missing() {
    let command = Command::new("banger-no-such-program");
    assert!(!command.program_exists());
    let error = command.run().unwrap_err();
    assert_eq!(error.kind(), Kind::Missing);
    assert_eq!(
        error.to_string(),
        "there is no program `banger-no-such-program`"
    );
}

#[test]
fn the_environment_is_ours_and_small() {
    let text = Command::new("env").env("A", "b").run().unwrap().text();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=b", "LC_ALL=C", &format!("PATH={PATH}")]);
}

#[test]
fn lines_come_as_they_are_written_from_both_outputs() {
    let mut lines = Vec::new();
    shell("echo one; echo two >&2; printf three; exit 0")
        .stream_lines(|line| lines.push(line.to_owned()))
        .unwrap();
    assert_eq!(lines, ["one", "two", "three"]);
    let error = shell("echo why; exit 1").stream_lines(|_| ()).unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "why"
    );
}
