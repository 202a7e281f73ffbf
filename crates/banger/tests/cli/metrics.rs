//! The metrics, for Prometheus.

use crate::environment::TestEnvironment;

fn value(text: &str, sample: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.rsplit_once(' ').is_some_and(|it| it.0 == sample));
    Some(line?.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[test]
fn vms_operations_and_the_host_are_measured() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web", "--memory", "1G", "--vcpu", "3"]);
    environment.done(&["vm", "create", "sql", "--no-start"]);
    assert_eq!(environment.run(&["vm", "create", "web"]).status, 1);
    let text = environment.done(&["metrics"]).stdout;
    for (sample, expected) in [
        ("banger_vms{phase=\"running\"}", 1.0),
        ("banger_vms{phase=\"stopped\"}", 1.0),
        ("banger_vms{phase=\"starting\"}", 0.0),
        ("banger_vm_up{vm=\"web\"}", 1.0),
        ("banger_vm_up{vm=\"sql\"}", 0.0),
        ("banger_vm_vcpus{vm=\"web\"}", 3.0),
        ("banger_vm_memory_bytes{vm=\"web\"}", 1_073_741_824.0),
        (
            "banger_operations_total{verb=\"create\",outcome=\"done\"}",
            2.0,
        ),
        (
            "banger_operations_total{verb=\"create\",outcome=\"failed\"}",
            1.0,
        ),
        (
            "banger_operation_duration_seconds_count{verb=\"create\"}",
            3.0,
        ),
        (
            "banger_operation_duration_seconds_bucket{verb=\"create\",le=\"+Inf\"}",
            3.0,
        ),
        ("banger_operations_open", 0.0),
    ] {
        assert_eq!(value(&text, sample), Some(expected), "{sample}: {text}");
    }
    for sample in [
        "banger_host_disk_free_bytes",
        "banger_host_memory_bytes",
        "banger_host_cpus",
    ] {
        assert!(
            value(&text, sample).is_some_and(|it| it > 0.0),
            "{sample}: {text}"
        );
    }
    // Each sample belongs to a metric that is described before it.
    let mut described = String::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(metric) => described = metric.split(' ').next().unwrap().to_owned(),
            None => assert!(
                line.starts_with("# HELP ") || line.starts_with(&described),
                "{line}"
            ),
        }
    }
}

#[test]
fn metrics_are_written_to_a_file_all_at_once() {
    let environment = TestEnvironment::new();
    let folder = environment.path("collector");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("banger.prom");
    for _ in 0..2 {
        environment.done(&["metrics", "--write", file.to_str().unwrap()]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.ends_with('\n') && value(&text, "banger_vms_paused") == Some(0.0),
            "{text}"
        );
        assert_eq!(
            std::fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing else is left"
        );
    }
    let nowhere = environment.path("none/banger.prom");
    let run = environment.run(&["metrics", "--write", nowhere.to_str().unwrap()]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("none/banger.prom"), "{run:#?}");
}
