//! What people do inside a VM, on any hypervisor of the lab: commands, jobs, copies, forwards,
//! volumes, and the serial console in rescue.

use std::time::Duration;

use crate::host::{Lab, User, wait_for};

const PATIENCE: Duration = Duration::from_secs(300);

/// Everything inside of a VM that runs, whose name is `vm`.
pub(crate) fn assert_works(lab: &Lab, user: User, vm: &str) {
    commands(lab, user, vm);
    jobs(lab, user, vm);
    copies(lab, user, vm);
    archives_and_sync(lab, user, vm);
    forwards(lab, user, vm);
    held_forwards(lab, user, vm);
}

fn commands(lab: &Lab, user: User, vm: &str) {
    let ended = lab.run(user, &format!("banger vm exec {vm} -- sh -c 'exit 41'"));
    assert_eq!(ended.status, 41, "{ended:?}");
    let binary = format!(
        "head -c 3000000 /dev/urandom > bytes; sha256sum < bytes; banger vm exec {vm} -i -- cat < bytes | sha256sum; rm bytes"
    );
    let digests = lab.must(user, &binary);
    let (sent, received) = digests.split_once('\n').unwrap();
    assert_eq!(sent, received);
    // No network is needed.
    let apart = format!(
        "banger vm exec {vm} -- ip link set eth0 down; \
         banger vm exec {vm} -- cat /sys/class/net/eth0/operstate; \
         banger vm exec {vm} -- ip link set eth0 up"
    );
    assert_eq!(lab.must(user, &apart), "down");
    let many = format!(
        "for i in $(seq 20); do banger vm exec {vm} -- echo $i & done | sort -n | md5sum; \
         seq 20 | md5sum"
    );
    let digests = lab.must(user, &many);
    let (printed, expected) = digests.split_once('\n').unwrap();
    assert_eq!(printed, expected, "twenty commands at once");
}

fn jobs(lab: &Lab, user: User, vm: &str) {
    let detach = format!(
        "banger vm exec {vm} --detach --name lab -- sh -c 'echo began; sleep 5; echo ended; exit 3'"
    );
    lab.must(user, &detach);
    let listed = lab.must(user, &format!("banger vm jobs {vm}"));
    assert!(listed.contains("lab"), "{listed}");
    lab.must(user, &format!("banger vm wait {vm} --for job:lab"));
    let attached = lab.run(user, &format!("banger vm attach {vm} lab --no-input"));
    assert_eq!(attached.status, 3, "{attached:?}");
    let logs = lab.must(user, &format!("banger vm job logs {vm} lab"));
    assert_eq!(logs, "began\nended");
    lab.must(user, &format!("banger vm job remove {vm} lab"));
}

fn copies(lab: &Lab, user: User, vm: &str) {
    let script = format!(
        "rm -rf tree back; mkdir -p tree/deep; echo words > tree/deep/file; ln -s deep/file tree/link; \
         truncate -s 50M tree/hole; \
         banger vm cp -r tree {vm}:/root/tree >/dev/null; banger vm cp -r {vm}:/root/tree back >/dev/null; \
         diff -r tree back; readlink back/link; rm -rf tree back; \
         banger vm exec {vm} -- rm -rf /root/tree"
    );
    assert_eq!(lab.must(user, &script), "deep/file");
}

/// A tar archive goes through a pipe there and back, and a synchronized directory loses what is gone.
fn archives_and_sync(lab: &Lab, user: User, vm: &str) {
    let script = format!(
        "rm -rf tree; mkdir -p tree/deep; echo words > tree/deep/file; echo more > tree/more; \
         tar -c tree | banger vm cp - {vm}:/root >/dev/null; \
         banger vm cp {vm}:/root/tree - | tar -t | grep -c file; \
         banger vm sync tree {vm}:/root/app >/dev/null; rm tree/more; \
         banger vm sync tree {vm}:/root/app --delete >/dev/null; \
         banger vm exec {vm} -- sh -c 'ls /root/app; cat /root/app/deep/file'; rm -rf tree; \
         banger vm exec {vm} -- rm -rf /root/tree /root/app"
    );
    assert_eq!(lab.must(user, &script), "1\ndeep\nwords");
}

/// The daemon listens for a port of the guest, and the guest for the host's sshd.
fn held_forwards(lab: &Lab, user: User, vm: &str) {
    let port_of = |line: &str| line.rsplit(':').next().unwrap_or_default().to_owned();
    let listens = format!(
        "banger --json vm forward {vm} 0:22 -R 0:22 --detach | grep -o '\"listen\": *\"[^\"]*' | cut -d'\"' -f4"
    );
    let listens = lab.must(user, &listens);
    let (here, there) = listens.split_once('\n').unwrap();
    let banner = |port: &str| format!("exec 3<>/dev/tcp/127.0.0.1/{port}; head -c 4 <&3");
    let (here, there) = (banner(&port_of(here)), banner(&port_of(there)));
    assert_eq!(lab.must(user, &format!("bash -c '{here}'")), "SSH-");
    let asked = format!("banger vm exec {vm} -- bash -c '{there}'");
    assert_eq!(lab.must(user, &asked), "SSH-");
    lab.must(user, &format!("banger vm forward {vm} --remove all"));
}

/// One connection through a forward to a server on the loopback of the guest.
fn forwards(lab: &Lab, user: User, vm: &str) {
    lab.must(
        user,
        &format!(
            "banger vm exec {vm} --detach --name web -- \
             python3 -m http.server -b 127.0.0.1 8123; \
             banger vm wait {vm} --for port:8123 --timeout 300"
        ),
    );
    let script = format!(
        "banger vm forward {vm} 0:8123 > forward.out 2>&1 & forward=$!; \
         for i in $(seq 100); do grep -q 127.0.0.1: forward.out && break; sleep 0.2; done; \
         port=$(grep -o '127.0.0.1:[0-9]*' forward.out | head -n 1 | cut -d: -f2); \
         exec 3<>/dev/tcp/127.0.0.1/$port; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3; \
         kill $forward; rm forward.out; banger vm job kill {vm} web >/dev/null"
    );
    let answer = lab.must(
        user,
        &format!("bash -c '{}'", script.replace('\'', "'\\''")),
    );
    assert!(answer.starts_with("HTTP/1.0"), "{answer}");
}

/// The shell that rescue opens on the serial console computes, and the VM continues afterwards.
pub(crate) fn assert_console_in_rescue(lab: &Lab, user: User, vm: &str) {
    lab.must(user, &format!("banger vm start {vm} --rescue"));
    // What is typed before the shell reads is lost, so it is typed until it is answered.
    wait_for(PATIENCE, || {
        let typed = format!(
            "(sleep 1; printf 'echo r$((6*7))e\\n'; sleep 5) | timeout 30 banger vm console {vm}"
        );
        let run = lab.run(user, &typed);
        let has_answered = run.stdout.contains("r42e");
        has_answered.then_some(()).ok_or(format!("{run:?}"))
    });
    let executed = lab.must(user, &format!("banger vm exec {vm} -- cat /proc/1/comm"));
    eprintln!("the first process in rescue: {executed}");
    lab.must(user, &format!("banger vm stop {vm}"));
}

/// A volume keeps what one VM wrote for the next.
pub(crate) fn assert_volume(lab: &Lab, user: User, vm: &str) {
    lab.must(
        user,
        &format!(
            "banger volume create {vm}-data --size 128M; banger vm set {vm} --volume {vm}-data:/data; \
             banger vm start {vm}; banger vm exec {vm} -- sh -c 'echo kept > /data/file'; \
             banger vm stop {vm}; banger vm start {vm}"
        ),
    );
    let kept = lab.must(user, &format!("banger vm exec {vm} -- cat /data/file"));
    assert_eq!(kept, "kept");
    lab.must(user, &format!("banger vm stop {vm}"));
}
