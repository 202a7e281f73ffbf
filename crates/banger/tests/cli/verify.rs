//! `banger verify`, without a guest.

use crate::environment::TestEnvironment;

#[test]
fn a_simulated_host_is_tried_as_far_as_it_goes_and_nothing_is_left() {
    let environment = TestEnvironment::new();
    let run = environment.done(&["verify", "--nat"]);
    let steps: Vec<_> = run
        .stdout
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("ok", "create"),
            ("skipped", "ssh"),
            ("skipped", "name"),
            ("skipped", "nat"),
            ("skipped", "keep"),
            ("ok", "delete"),
        ],
        "{run:#?}"
    );
    assert_eq!(environment.done(&["-q", "vm", "list"]).stdout, "");
    let report = environment.json(&["verify"]);
    assert_eq!(report["passed"], true);
    assert_eq!(report["steps"].as_array().unwrap().len(), 6);
}
