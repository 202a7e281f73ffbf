//! The machine that VMs run on.

use crate::environment::TestEnvironment;

#[test]
fn a_host_tells_its_room_and_what_its_vms_may_use() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web", "--memory", "2G"]);
    environment.done(&["vm", "create", "api", "--memory", "1G", "--no-start"]);
    let host = environment.json(&["host", "show"]);
    assert_eq!(host["simulated"], true, "{host}");
    assert_eq!(host["memory_of_vms_mib"], 2048, "{host}");
    assert_eq!((&host["vms"], &host["running"]), (&2.into(), &1.into()));
    assert_eq!(host["hypervisors"][0]["name"], "sim", "{host}");
    assert_eq!(host["hypervisors"][0]["available"], true, "{host}");
    assert_eq!(host["images"][0]["name"], "default", "{host}");
    assert!(host["disk_free_mib"].as_u64().unwrap() > 0, "{host}");
    let text = environment.done(&["host", "show"]).stdout;
    assert!(
        text.contains("memory:      48G free of 64G; running VMs may use 2G\n"),
        "{text}"
    );
    assert!(text.contains("hypervisors: sim, for new VMs\n"), "{text}");
}
