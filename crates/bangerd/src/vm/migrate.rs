//! Migration of records from earlier schemas.
//!
//! | schema | change |
//! |---|---|
//! | 2 | none in the record; unknown fields are rejected |
//! | 3 | fields of a run are in `run`; `boot` is `last_boot`; names of sizes have their unit |
//!
//! Only known fields are moved. Unknown ones stay in place, and are rejected by name.

use serde_json::{Map, Value};

/// Migrates a record, `{"schema": …, "vm": …}`, to the current schema.
pub(super) fn migrate(schema: u64, record: &mut Value) {
    if schema < 3
        && let Some(vm) = record["vm"].as_object_mut()
    {
        gather_run(vm);
        for settings in ["/spec", "/run/in_force"] {
            let settings = record["vm"].pointer_mut(settings);
            settings.and_then(Value::as_object_mut).map(name_units);
        }
    }
}

/// Schema 2 had sizes in MiB without the unit in their names.
fn name_units(settings: &mut Map<String, Value>) {
    for name in ["memory", "disk_size", "system_disk_size"] {
        let size = settings.remove(name);
        settings.extend(size.map(|size| (format!("{name}_mib"), size)));
    }
}

/// Schema 2 had the fields of a run beside those of the VM, and kept some of them after the run.
fn gather_run(vm: &mut Map<String, Value>) {
    vm.remove("paused");
    let mut run = Map::new();
    for key in ["process", "jailed_as", "rescue", "started", "notes"] {
        run.extend(vm.remove(key).map(|value| (key.to_owned(), value)));
    }
    let in_force = vm.remove("in_force").filter(|it| !it.is_null());
    let in_force = in_force.unwrap_or_else(|| vm.get("spec").cloned().unwrap_or_default());
    run.insert("in_force".to_owned(), in_force);
    run.entry("rescue").or_insert(Value::Bool(false));
    run.entry("notes")
        .or_insert_with(|| Value::Array(Vec::new()));
    let hypervisor = vm.remove("hypervisor");
    if let Some(Value::Object(mut boot)) = vm.remove("boot") {
        for key in ["at", "host_boot_id"] {
            run.extend(boot.remove(key).map(|value| (key.to_owned(), value)));
        }
        boot.extend(hypervisor.map(|name| ("hypervisor".to_owned(), name)));
        vm.insert("last_boot".to_owned(), Value::Object(boot));
    }
    let phase = vm.get("phase").and_then(Value::as_str);
    if matches!(phase, Some("starting" | "running" | "stopping")) {
        vm.insert("run".to_owned(), Value::Object(run));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::vm::Vm;

    use super::*;

    /// A record of schema 2, field by field as the last banger with that schema wrote it.
    fn schema_2(phase: &str) -> Value {
        let runs = phase == "running";
        let process = json!({"pid": 22178, "start_time": 1_853_991, "boot_id": "one"});
        let jailed_as = json!({"uid": 1_989_061_376, "gid": 1_989_061_376});
        let spec = json!({
            "vcpu": 2, "memory": 2048, "disk_size": 16384, "system_disk_size": 8192, "nat": true,
        });
        let mut given = spec.clone();
        given["vcpu"] = json!(1);
        let mut vm = json!({
            "id": "d17a3f95",
            "name": "older",
            "spec": spec,
            "images": {"name": "default", "root": "ac37", "kernel": "87c0"},
            "root_disk": "reflink",
            "shape": {"number": 1, "machine_type": "pc-q35-7.2"},
            "index": 3,
            "address": "10.215.0.5",
            "gateway": "10.215.0.1",
            "network": "user",
            "ssh_port": 41577,
            "owner": null,
            "jailed_as": jailed_as,
            "machine_id": "a619241d6229e363d5b6d1c77d9779d8",
            "host_key": {"private": "(not kept)", "public": "ssh-ed25519 AAAA"},
            "phase": phase,
            "hypervisor": "qemu",
            "process": if runs { process } else { Value::Null },
            "boot": {
                "number": 7,
                "console_offset": 4096,
                "at": "2026-11-26T00:02:37Z",
                "host_boot_id": "one",
            },
            "rescue": false,
            "created": "2026-11-25T00:02:36Z",
            "started": if runs { json!("2026-11-26T00:02:47Z") } else { Value::Null },
            "last_end": {
                "reason": "stopped",
                "detail": "`vm stop`",
                "at": "2026-11-26T00:01:00Z",
            },
            "notes": if runs { json!(["the work disk could not grow"]) } else { json!([]) },
        });
        if runs {
            vm["in_force"] = given;
        }
        json!({"schema": 2, "vm": vm})
    }

    /// The VM of such a record, after a check that nothing is lost, and that only later settings
    /// have defaults.
    fn read(mut record: Value) -> Vm {
        migrate(2, &mut record);
        let vm: Vm = serde_json::from_value(record["vm"].clone()).unwrap();
        for settings in ["/vm/spec", "/vm/run/in_force"] {
            if let Some(settings) = record.pointer_mut(settings) {
                settings["protected"] = json!(false);
                settings["autostart"] = json!(false);
            }
        }
        assert_eq!(serde_json::to_value(&vm).unwrap(), record["vm"]);
        vm
    }

    #[test]
    fn a_running_vm_of_schema_2_keeps_its_run() {
        let vm = read(schema_2("running"));
        let boot = vm.last_boot.clone().unwrap();
        assert_eq!((boot.number, boot.console_offset), (7, 4096));
        assert_eq!(vm.hypervisor(), Some("qemu"));
        assert_eq!((vm.given().vcpu, vm.spec.vcpu), (1, 2));
        assert_eq!((vm.given().memory.0, vm.spec.disk_size.0), (2048, 16384));
        let run = vm.run.unwrap();
        assert_eq!(run.at.to_string(), "2026-11-26T00:02:37Z");
        assert_eq!(run.host_boot_id, "one");
        assert_eq!(run.process.unwrap().pid, 22178);
        assert_eq!(run.jailed_as.unwrap().uid, 1_989_061_376);
        assert_eq!(run.started.unwrap().to_string(), "2026-11-26T00:02:47Z");
        assert_eq!(run.notes, ["the work disk could not grow"]);
        assert!(!run.rescue);
    }

    #[test]
    fn a_stopped_vm_of_schema_2_has_no_run_and_keeps_what_outlives_one() {
        let vm = read(schema_2("stopped"));
        assert_eq!((&vm.run, vm.ssh_port), (&None, Some(41577)));
        assert_eq!(vm.hypervisor(), Some("qemu"));
        assert_eq!(vm.last_boot.unwrap().number, 7);
        assert_eq!(vm.last_end.unwrap().detail, "`vm stop`");
    }

    #[test]
    fn a_run_that_did_not_note_its_settings_has_those_of_its_vm() {
        let mut record = schema_2("running");
        record["vm"].as_object_mut().unwrap().remove("in_force");
        let vm = read(record);
        assert_eq!(vm.run.unwrap().in_force, vm.spec);
    }

    #[test]
    fn what_is_not_known_stays_where_it_was() {
        let mut record = schema_2("stopped");
        record["vm"]["mood"] = json!("sunny");
        record["vm"]["boot"]["mood"] = json!("sunny");
        migrate(2, &mut record);
        assert_eq!(record["vm"]["mood"], json!("sunny"));
        assert_eq!(record["vm"]["last_boot"]["mood"], json!("sunny"));
    }
}
