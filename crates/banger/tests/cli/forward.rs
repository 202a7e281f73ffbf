//! `vm forward` and `vm proxy`: connections to services of a guest.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::environment::{Run, TestEnvironment};

fn with_vm() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    environment
}

/// A forward that runs, and its first lines.
fn forward(environment: &TestEnvironment, rules: &[&str]) -> (Child, Vec<String>) {
    let mut command = environment.command(&[&["vm", "forward", "web"], rules].concat());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = rules.iter().map(|_| lines.next().unwrap().unwrap());
    let told = told.collect();
    (child, told)
}

fn end(child: Child) -> Run {
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    Run::of(child.wait_with_output().unwrap())
}

fn address_of(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

/// What comes back, to the end.
fn echo(address: &str, text: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let _ = stream.write_all(text);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    // A refused connection is reset.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn a_port_reaches_the_guest_until_it_is_interrupted() {
    let environment = with_vm();
    let (child, told) = forward(&environment, &["0:80", "0:8080"]);
    assert!(told[0].ends_with(" → web:80"), "{told:?}");
    let address = address_of(&told[0]).to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let large = vec![7; 1 << 20];
    let answers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| echo(&address, b"a\0b")))
            .collect();
        let answers: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
        answers
    });
    assert_eq!(answers, [b"a\0b", b"a\0b", b"a\0b"]);
    let mut stream = TcpStream::connect(&address).unwrap();
    let mut writes = stream.try_clone().unwrap();
    let sent = large.clone();
    let writing = std::thread::spawn(move || {
        writes.write_all(&sent).unwrap();
        writes.shutdown(Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    writing.join().unwrap();
    assert!(answer == large);
    assert_eq!(echo(address_of(&told[1]), b"x"), b"");
    // The VM may be stopped and started.
    environment.done(&["vm", "stop", "web"]);
    assert_eq!(echo(&address, b"x"), b"");
    environment.done(&["vm", "start", "web"]);
    assert_eq!(echo(&address, b"again"), b"again");
    let run = end(child);
    assert_eq!(run.status, 130, "{run:#?}");
    assert!(
        run.stderr.contains("nothing listens on port 8080"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("is not running"), "{run:#?}");
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn a_socket_reaches_a_socket_of_the_guest() {
    let environment = with_vm();
    let path = environment.path("d.sock");
    let rule = format!("{}:/run/docker.sock", path.display());
    let (child, told) = forward(&environment, &[&rule]);
    assert!(told[0].ends_with("/run/docker.sock in web"), "{told:?}");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello");
    // The next one replaces what a killed one leaves.
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait_with_output().unwrap();
    assert!(path.exists());
    let (child, _) = forward(&environment, &[&rule]);
    let run = environment.run(&["vm", "forward", "web", &rule]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("something listens there"), "{run:#?}");
    assert_eq!(end(child).status, 130);
    assert!(!path.exists(), "it is removed");
}

#[test]
fn what_cannot_be_forwarded_is_told() {
    let environment = with_vm();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let run = environment.run(&["vm", "forward", "web", &port.to_string()]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr.contains(&format!("127.0.0.1:{port} is in use")),
        "{run:#?}"
    );
    let run = environment.run(&["vm", "forward", "web", "53:53/udp"]);
    assert_eq!(run.status, 2, "{run:#?}");
    assert!(run.stderr.contains("not UDP"), "{run:#?}");
    let run = environment.run(&["vm", "forward", "nobody", "0:80"]);
    assert_eq!(run.status, 1, "{run:#?}");
}

#[test]
fn standard_input_and_output_become_a_connection() {
    let environment = with_vm();
    let mut command = environment.command(&["vm", "proxy", "web", "80"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"in\0out").unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.status, run.stdout.as_str()), (0, "in\0out"), "{run:?}");
    let run = environment.run(&["vm", "proxy", "web", "8080"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr
            .contains("connect to port 8080 of `web`\n  caused by: nothing listens on port 8080"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("banger vm ports web"), "{run:#?}");
}

#[test]
fn a_full_disk_below_the_standard_output_is_a_failure() {
    let environment = with_vm();
    let mut proxy = environment.command(&["vm", "proxy", "web", "80"]);
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut child = proxy.stdin(Stdio::piped()).stdout(full).spawn().unwrap();
    // The service sends it back.
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("No space left"), "{run:#?}");
}

#[test]
fn a_kept_forward_of_a_stopped_vm_is_listed_and_has_its_port() {
    let environment = with_vm();
    let told = environment.done(&["vm", "forward", "web", "0:80", "--keep"]);
    let place = address_of(&told.stdout).to_owned();
    environment.done(&["vm", "stop", "web"]);
    environment.done(&["vm", "create", "db"]);
    let rule = format!("{place}:80");
    let refused = environment.run(&["vm", "forward", "db", &rule, "--detach"]);
    assert_eq!(refused.status, 1);
    assert!(
        refused.stderr.contains("`web` has a forward of"),
        "{refused:#?}"
    );
    let columns = ["vm", "list", "--columns", "name,forwards", "-o", "csv"];
    let listed = environment.done(&columns).stdout;
    assert!(listed.contains(&format!("web,{place}")), "{listed}");
}

#[test]
fn the_url_of_a_service_is_printed() {
    let environment = with_vm();
    let address = environment.json(&["vm", "show", "web"])["address"].clone();
    let address = address.as_str().unwrap();
    let url = environment.done(&["vm", "open", "web", "22"]).stdout;
    assert_eq!(url, format!("http://{address}:22/\n"));
    let open = ["vm", "open", "web", "22", "--https", "--path", "/a?b=c"];
    let view = environment.json(&open);
    assert_eq!(view["url"], format!("https://{address}:22/a?b=c"));
    assert_eq!(view["forwarded"], false);
    let run = environment.run(&["vm", "open", "web", "8080"]);
    assert!(
        run.stderr.contains("nothing listens on port 8080"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("--for port:8080"), "{run:#?}");
}

/// The forwards that the daemon holds, by where they listen and how they are.
fn held(environment: &TestEnvironment) -> Vec<(String, String)> {
    let list = environment.json(&["vm", "forward", "web", "--list"]);
    let list = list.as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    list.map(|it| (text(&it["listen"]), text(&it["state"])))
        .collect()
}

#[test]
fn the_daemon_listens_when_it_is_asked_to() {
    let environment = with_vm();
    let told = environment.done(&["vm", "forward", "web", "0:80", "--detach"]);
    assert!(told.stdout.ends_with(" → web:80\n"), "{told:#?}");
    let passing = address_of(&told.stdout).to_owned();
    assert_eq!(echo(&passing, b"a\0b"), b"a\0b");
    let socket = environment.path("kept.sock");
    let rule = format!("{}:22", socket.display());
    let told = environment.done(&["vm", "forward", "web", &rule, "--keep"]);
    assert!(told.stdout.ends_with("web:22, kept\n"), "{told:#?}");
    let shown = environment.done(&["vm", "show", "web"]).stdout;
    assert!(shown.contains(&format!("{passing} → web:80")), "{shown}");
    let ports = environment.done(&["vm", "ports", "web"]).stdout;
    assert!(ports.contains("FORWARDED FROM"), "{ports}");
    assert!(ports.contains(socket.to_str().unwrap()), "{ports}");
    environment.done(&["vm", "restart", "web"]);
    let path = socket.display().to_string();
    assert_eq!(held(&environment), [(path.clone(), "listening".to_owned())]);
    assert!(TcpStream::connect(&passing).is_err());
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello");
    environment.done(&["daemon", "stop"]);
    assert!(!socket.exists(), "it is removed");
}

#[test]
fn held_forwards_are_listed_and_removed() {
    let environment = with_vm();
    let none = environment.done(&["vm", "forward", "web", "--list"]);
    assert_eq!(none.stdout, "");
    assert!(none.stderr.contains("--keep"), "{none:#?}");
    let told = environment.json(&["vm", "forward", "web", "0:80", "0:81", "0:82", "--keep"]);
    let listen: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["listen"].as_str().unwrap())
        .collect();
    let port = listen[0].rsplit(':').next().unwrap();
    let removed = environment.done(&["vm", "forward", "web", "--remove", port]);
    assert!(
        removed
            .stdout
            .starts_with(&format!("removed {} → web:80", listen[0]))
    );
    assert!(TcpStream::connect(listen[0]).is_err());
    assert_eq!(held(&environment).len(), 2);
    let run = environment.run(&["vm", "forward", "web", "--remove", port]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("--list"), "{run:#?}");
    environment.done(&["vm", "forward", "web", "--remove", "all"]);
    assert!(held(&environment).is_empty());
    // What somebody else has is refused, and so is a mix of verbs.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = environment.run(&["vm", "forward", "web", &port, "-d"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("is in use"), "{run:#?}");
    assert_eq!(environment.run(&["vm", "forward", "web"]).status, 2);
    let run = environment.run(&["vm", "forward", "web", "80", "--list"]);
    assert_eq!(run.status, 2, "{run:#?}");
}

/// A service of this machine, and what its next client says.
fn service() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    });
    (port, heard)
}

#[test]
fn a_guest_reaches_one_service_of_this_machine() {
    let environment = with_vm();
    let (port, heard) = service();
    let rule = format!("80:{port}");
    let mut command = environment.command(&["vm", "forward", "web", "-R", &rule, "0:22"]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let here = lines.next().unwrap().unwrap();
    assert!(here.ends_with(" → web:22"), "{here}");
    let there = lines.next().unwrap().unwrap();
    assert_eq!(there, format!("127.0.0.1:80 in web → localhost:{port}"));
    assert_eq!(heard.join().unwrap(), "hello from the guest");
    // After a restart the guest listens again, and the simulated one connects again.
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    environment.done(&["vm", "restart", "web"]);
    let (mut stream, _) = listener.accept().unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello from the guest");
    assert_eq!(end(child).status, 130);
}

/// A VM that does not run has chosen no port yet.
#[test]
fn a_free_port_of_a_stopped_vm_is_printed_when_it_runs() {
    let environment = with_vm();
    environment.done(&["vm", "stop", "web"]);
    let (port, heard) = service();
    let rule = format!("0:{port}");
    let mut command = environment.command(&["vm", "forward", "web", "-R", &rule, "0:22"]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let here = lines.next().unwrap().unwrap();
    assert!(here.ends_with(" → web:22"), "{here}");
    environment.done(&["vm", "start", "web"]);
    let there = lines.next().unwrap().unwrap();
    let chosen = there.strip_prefix("127.0.0.1:").unwrap();
    let (chosen, _) = chosen.split_once(' ').unwrap();
    assert_ne!(chosen.parse::<u16>().unwrap(), 0, "{there}");
    assert_eq!(heard.join().unwrap(), "hello from the guest");
    assert_eq!(end(child).status, 130);
}

#[test]
fn a_guests_port_that_is_taken_or_kept_is_told() {
    let environment = with_vm();
    let run = environment.run(&["vm", "forward", "web", "-R", "1:22"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr.contains("port 1 of the guest is in use"),
        "{run:#?}"
    );
    let (port, heard) = service();
    let kept = format!("/run/s.sock:{port}");
    let told = environment
        .done(&["vm", "forward", "web", "-R", &kept, "--keep"])
        .stdout;
    assert_eq!(
        told,
        format!("/run/s.sock in web → localhost:{port}, kept\n")
    );
    assert_eq!(heard.join().unwrap(), "hello from the guest");
    let removed = environment.done(&["vm", "forward", "web", "--remove", "/run/s.sock"]);
    assert!(
        removed.stdout.starts_with("removed /run/s.sock"),
        "{removed:#?}"
    );
    assert!(held(&environment).is_empty());
}
