//! A power cut of the whole host, whose disk loses unflushed data.
//!
//! A VM appends numbers to a file on each of its disks, and prints a number only after fsync has
//! returned; beside it VMs are created, started, stopped and deleted. At a pseudo-random moment the
//! power is cut. When the host is up again, every printed number is on the disks, every VM has the
//! state that was last reported, there are no leftovers, and the VMs start.
//!
//! `BANGER_LAB_SEED` repeats one round.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::host::{Lab, User, is_full};
use crate::output_reader::{OutputReader, last_number, wait_for_number};
use crate::shared::{PATIENT, SMALL};
use crate::{firecracker, leftovers, needs_full_lab, needs_lab};

/// The number of rounds, and the longest time until a cut in milliseconds: in `make lab-full`, and
/// in the short part.
const FULL: (usize, u64) = (10, 120_000);
const SHORT: (usize, u64) = (1, 30_000);

/// The guest's script: numbers on both disks, each printed once it is synced.
const COUNT: &str = "rm -f /root/count /opt/count; i=0; while :; do i=$((i+1)); \
    for file in /root/count /opt/count; do \
    echo $i | dd of=$file oflag=append conv=notrunc,fsync status=none || exit 1; done; echo $i; done";

/// The host's script: creates and deletes VMs, and prints each request and its result.
const CHURN: &str = "n=$1; while :; do n=$((n+1)); vm=churn$n; \
    say() { echo $1 $vm; }; \
    say creating; banger vm create --name $vm --memory 384 --disk-size 512M --no-start >&2 && say created; \
    say starting; banger vm start $vm >&2 && say started; \
    say stopping; banger vm stop $vm >&2 && say stopped; \
    say deleting; banger vm delete --force $vm >&2 && say deleted; done";

/// The next pseudo-random number (splitmix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn seed() -> u64 {
    match std::env::var("BANGER_LAB_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .subsec_nanos(),
        ),
    }
}

fn numbers(text: &str) -> Vec<u64> {
    text.lines().map(|it| it.parse().unwrap_or(0)).collect()
}

fn count(lab: &Lab) -> OutputReader {
    OutputReader::begin(lab, &format!("banger vm ssh counter -- sh -c '{COUNT}'"))
}

/// The lengths of the counter's files, which must have no gaps, on both disks.
fn counted(lab: &Lab) -> [u64; 2] {
    ["/root/count", "/opt/count"].map(|file| {
        let text = lab.root(&format!(
            "banger vm ssh counter -- sh -c 'cat {file} || true'"
        ));
        let numbers = numbers(&text);
        let whole = (1..).zip(&numbers).take_while(|(n, it)| n == *it).count();
        u64::try_from(whole).unwrap()
    })
}

fn a_lab_with_a_counter(configuration: &str) -> (Lab, Vec<String>) {
    let lab = Lab::with_lossy_disk();
    lab.configure(User::Root, configuration);
    let before = leftovers::list(&lab);
    lab.root(&format!("banger vm create --name counter {SMALL}; sync"));
    (lab, before)
}

/// The hypervisor of a round: with a Firecracker, every second round uses it, because consecutive
/// seeds alternate between odd and even.
fn hypervisor(seed: u64) -> String {
    if seed.is_multiple_of(2) && std::env::var_os("FIRECRACKER").is_some() {
        return firecracker::configuration("firecracker", "");
    }
    format!("{PATIENT}\nhypervisor = \"qemu\"")
}

/// Runs one round: the work, the cut, and the checks after the boot.
///
/// Returns the seed of the next round, whose hypervisor the counter already uses.
fn round(lab: &mut Lab, before: &[String], number: usize, seed: u64, longest: u64) -> u64 {
    let mut next = seed;
    let moment = Duration::from_millis(2_000 + random(&mut next) % longest);
    lab.root("banger vm start counter");
    let view = lab.json(User::Root, "vm show counter");
    let counter = count(lab);
    wait_for_number(&counter, 1);
    let churn = OutputReader::begin(lab, &format!("set -- {}; {CHURN}", number * 1000));
    std::thread::sleep(moment);
    lab.cut();
    let (said, asked) = (last_number(&counter.end()), churn.end());
    lab.boot();
    let found = phases(lab);
    let answered = check_phases(&asked, &found);
    assert_nothing_else(lab, before);
    lab.configure(User::Root, &hypervisor(next));
    lab.root("sync; banger vm start counter");
    let counted = counted(lab);
    eprintln!(
        "round {number}, seed {seed}, {}, {}: cut after {moment:.1?}; said {said}, found {counted:?}; \
         last said of the others: {answered}",
        view["hypervisor"], view["root_disk"],
    );
    assert!(counted.iter().all(|it| *it >= said), "fsynced data is lost");
    for name in found.keys().filter(|it| *it != "counter") {
        lab.root(&format!(
            "banger vm start {name}; banger vm ssh {name} -- true; banger vm delete --force {name}"
        ));
    }
    next
}

/// Each VM's phase, after recovery.
fn phases(lab: &Lab) -> BTreeMap<String, String> {
    let list = lab.json(User::Root, "vm list");
    let text = |it: &serde_json::Value| it.as_str().unwrap().to_owned();
    list.as_array()
        .unwrap()
        .iter()
        .map(|vm| (text(&vm["name"]), text(&vm["phase"])))
        .collect()
}

/// Reported results must have lasted; pending requests may have happened, or not.
fn check_phases(asked: &[String], found: &BTreeMap<String, String>) -> String {
    for (name, phase) in found {
        assert!(
            phase == "stopped" || phase == "running",
            "{name} is {phase}"
        );
    }
    assert!(found.contains_key("counter"), "{found:?}");
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for (verb, name) in asked.iter().filter_map(|it| it.split_once(' ')) {
        last.insert(name, verb);
    }
    for (name, verb) in &last {
        match *verb {
            "deleted" => assert!(
                !found.contains_key(*name),
                "{name} was deleted, and is there"
            ),
            "creating" | "deleting" => {}
            _ => assert!(
                found.contains_key(*name),
                "{name} was {verb}, and is gone: {found:?}"
            ),
        }
    }
    let strangers: Vec<_> = found
        .keys()
        .filter(|it| *it != "counter" && !last.contains_key(it.as_str()))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    format!("{:?}", last.iter().next_back())
}

/// Asserts that the host is as before, except for the folders of the listed VMs.
fn assert_nothing_else(lab: &Lab, before: &[String]) {
    let ids = lab.root("banger --json vm list | grep -o '\"id\": *\"[0-9a-f]*\"' | cut -d'\"' -f4");
    let known: Vec<String> = ids
        .lines()
        .map(|id| format!("/root/.local/state/banger/vms/{id}"))
        .collect();
    let mut expected = before.to_vec();
    expected.extend(known);
    leftovers::assert_none(lab, &expected);
}

pub(crate) fn the_lab_loses_what_was_not_flushed_and_keeps_what_was() {
    needs_lab!();
    let mut lab = Lab::with_lossy_disk();
    lab.root("dd if=/dev/zero of=/kept bs=64K count=2 status=none; cp /kept /lost; sync");
    lab.root(
        "echo kept | dd of=/kept conv=notrunc,fsync status=none; \
         head -c 4096 /dev/zero | tr '\\0' x > /dev/shm/x; \
         dd if=/dev/shm/x of=/lost bs=4096 oflag=direct conv=notrunc status=none",
    );
    lab.cut();
    lab.boot();
    assert_eq!(lab.root("head -c 4 /kept"), "kept");
    assert_eq!(lab.root("tr -d '\\0' < /lost"), "", "the cache kept it");
}

pub(crate) fn fsynced_data_and_what_was_answered_outlast_a_cut() {
    needs_lab!();
    let (rounds, longest) = if is_full() { FULL } else { SHORT };
    let mut seed = seed();
    let (mut lab, before) = a_lab_with_a_counter(&hypervisor(seed));
    for number in 1..=rounds {
        seed = round(&mut lab, &before, number, seed, longest);
    }
}

pub(crate) fn a_disk_whose_flushes_are_dropped_does_lose_fsynced_data() {
    needs_full_lab!();
    let (mut lab, _) = a_lab_with_a_counter(&format!(
        "{PATIENT}\nhypervisor = \"qemu\"\ndisk_cache = \"unsafe\""
    ));
    let counter = count(&lab);
    wait_for_number(&counter, 20);
    lab.cut();
    let said = last_number(&counter.end());
    lab.boot();
    let started = lab.run(User::Root, "banger vm start counter");
    let counted = if started.status == 0 {
        counted(&lab)
    } else {
        [0, 0]
    };
    eprintln!("said {said}, found {counted:?}, start {}", started.status);
    assert!(
        counted.iter().any(|it| *it < said),
        "nothing was lost: this test proves nothing"
    );
}
