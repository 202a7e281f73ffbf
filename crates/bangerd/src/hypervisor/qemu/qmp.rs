//! One command over QEMU's control socket, as JSON lines:
//! <https://www.qemu.org/docs/master/interop/qmp-spec.html>

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Result, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::guest::channel::connect;

/// No answer of QEMU to our commands is longer, in bytes.
const LONGEST: u64 = 64 << 10;

/// Runs a command without arguments, and returns what QEMU answers.
pub(super) fn execute(socket: &Path, command: &str, timeout: Duration) -> Result<Value> {
    let deadline = Instant::now() + timeout;
    let stream = connect(socket)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    read(&mut reader, &stream, deadline, "QMP")?;
    let mut answer = Value::Null;
    for command in ["qmp_capabilities", command] {
        stream.set_write_timeout(Some(left(deadline)?))?;
        writeln!(stream, "{}", serde_json::json!({ "execute": command }))?;
        answer = read(&mut reader, &stream, deadline, "return")?;
    }
    Ok(answer)
}

fn left(deadline: Instant) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(Error::from(ErrorKind::TimedOut))
    } else {
        Ok(left)
    }
}

/// Reads lines until one has `key`, and returns what stands there; events are passed over.
fn read(
    reader: &mut BufReader<UnixStream>,
    stream: &UnixStream,
    deadline: Instant,
    key: &str,
) -> Result<Value> {
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let mut line = String::new();
        let mut bounded = std::io::Read::take(&mut *reader, LONGEST);
        if bounded.read_line(&mut line)? == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        let mut value: Value = serde_json::from_str(&line)?;
        if let Some(error) = value.get("error") {
            let text = error["desc"].as_str().unwrap_or("an error without words");
            return Err(Error::other(text.to_owned()));
        }
        if let Some(found) = value.get_mut(key) {
            return Ok(found.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answering(lines: &'static [&'static str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            writeln!(stream, "{}", lines[0]).unwrap();
            for line in &lines[1..] {
                reader.read_line(&mut String::new()).unwrap();
                writeln!(stream, "{line}").unwrap();
            }
        });
        (folder, path)
    }

    #[test]
    fn a_command_is_accepted_after_events() {
        let (_folder, path) = answering(&[
            r#"{"QMP": {}}"#,
            r#"{"return": {}}"#,
            "{\"event\": \"POWERDOWN\"}\n{\"return\": {}}",
        ]);
        execute(&path, "system_powerdown", Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn a_refusal_is_told_in_qemus_words() {
        let (_folder, path) =
            answering(&[r#"{"QMP": {}}"#, r#"{"error": {"desc": "no such thing"}}"#]);
        let error = execute(&path, "x", Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.to_string(), "no such thing");
    }

    #[test]
    fn a_qemu_that_says_nothing_does_not_hold_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(execute(&path, "x", Duration::from_millis(50)).is_err());
    }

    #[test]
    fn what_qemu_answers_is_returned() {
        let (_folder, path) = answering(&[
            r#"{"QMP": {}}"#,
            r#"{"return": {}}"#,
            r#"{"return": {"status": "io-error", "running": false}}"#,
        ]);
        let answer = execute(&path, "query-status", Duration::from_secs(5)).unwrap();
        assert_eq!(answer["status"], "io-error");
    }
}
