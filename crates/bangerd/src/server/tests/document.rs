//! The OpenAPI document.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

pub(super) fn document(server: &TestServer) -> Value {
    let answer = server.raw("GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Whether a path is for upgraded connections.
pub(super) fn is_upgrade(path: &str) -> bool {
    [
        "/exec",
        "/copy",
        "/lifeline",
        "/detach",
        "/attach",
        "/connect",
        "/connect?tcp=80",
        "/listen",
        "/listen?tcp=80",
        "/accept",
        "/accept?connection=7",
        "/console",
    ]
    .iter()
    .any(|end| path.ends_with(end))
}

/// The minimal body of a request; most need none.
pub(super) fn least_body(path: &str) -> &'static str {
    match path.rsplit('/').next() {
        Some("rename") => r#"{"name":"calm-otter"}"#,
        Some("volumes") => r#"{"name":"data"}"#,
        Some("import") => r#"{"path":"/state/vm","name":"imported"}"#,
        Some("clone") => r#"{"name":"copy"}"#,
        Some("build") => r#"{"name":"built"}"#,
        Some("log-level") => r#"{"level":"info"}"#,
        Some("images") => r#"{"name":"new","path":"/file"}"#,
        // The job to remove is running.
        Some("mine") if path.contains("/jobs/") => r#"{"force":true}"#,
        Some("export") => r#"{"path":"/state/copy","force":true}"#,
        _ => "",
    }
}

pub(super) fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Each described operation, by its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, it)| (format!("{method} {path}"), it))
        })
        .collect()
}

#[test]
fn a_body_may_be_left_out_where_it_has_defaults_and_a_reference_has_its_pattern() {
    let document = document(&TestServer::new());
    let (mut bodies, mut references) = (0, 0);
    for (name, operation) in operations(&document) {
        if let Some(body) = operation.get("requestBody") {
            bodies += 1;
            let is_required = body["required"] == true;
            let least = least_body(&name);
            assert_eq!(is_required, !least.is_empty(), "{name}");
        }
        let parameters = operation["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            if parameter["name"] == "ref" {
                references += 1;
                let schema = &parameter["schema"];
                assert_eq!(schema["pattern"], "^[a-z0-9-]+$", "{name}");
                assert_eq!(schema["maxLength"], 63, "{name}");
            }
        }
    }
    assert_eq!((bodies, references), (26, 31));
}

#[test]
fn every_verb_is_answered_in_lines_or_once() {
    let document = document(&TestServer::new());
    for (name, operation) in operations(&document) {
        if is_upgrade(&name) {
            assert!(operation["responses"]["101"].is_object(), "{name}");
            continue;
        }
        let content = operation["responses"]["200"]["content"]
            .as_object()
            .unwrap();
        let kinds: Vec<&String> = content.keys().collect();
        let expected = match name.as_str() {
            "get /v1/events" => &["application/x-ndjson"][..],
            "get /v1/vms/{ref}/logs" => &["text/plain"],
            "get /v1/metrics" => &["text/plain; version=0.0.4"],
            get if get.starts_with("get ") => &["application/json"],
            _ => &["application/json", "application/x-ndjson"],
        };
        assert_eq!(kinds, expected, "{name}");
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(name) if key == "$ref" => {
                        found.insert(name.to_owned());
                    }
                    Some(_) | None => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_schema_that_is_named_is_there() {
    let document = document(&TestServer::new());
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    for name in &named {
        let pointer = name.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{name} is not there");
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in [
        "CreateVm",
        "StartVm",
        "VmSpec",
        "VmSpecPatch",
        "LabelsPatch",
        "StopVm",
        "StopAllVms",
        "StopAllReport",
        "StopOutcome",
        "KillVm",
        "DeleteVm",
        "RenameVm",
        "CloneVm",
        "CreateVolume",
        "VolumeView",
        "VolumesPatch",
        "ExportVm",
        "ExportedVm",
        "ImportVm",
        "UndeleteVm",
        "PurgeVm",
        "VmView",
        "StopReport",
        "DaemonView",
        "VersionView",
        "Report",
        "CheckReport",
        "Error",
        "Code",
        "Event",
        "Change",
        "Snapshot",
        "Operation",
        "OperationState",
        "Verb",
        "Phase",
        "Progress",
        "Mib",
        "SignalName",
        "End",
        "EndReason",
        "SshView",
        "NetworkKind",
        "Verdict",
    ] {
        assert!(
            schemas.contains_key(name),
            "{name} is not described: {:?}",
            schemas.keys()
        );
    }
}

#[test]
fn the_document_is_of_version_3_1_and_reads_back() {
    let document = document(&TestServer::new());
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "banger");
    let text = document.to_string();
    let read: utoipa::openapi::OpenApi = serde_json::from_str(&text).unwrap();
    assert_eq!(
        read.paths.paths.len(),
        document["paths"].as_object().unwrap().len()
    );
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                operation["summary"].is_string(),
                "{method} {path} is not described"
            );
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].is_string(),
                    "{method} {path}: {status} is not described"
                );
            }
            let default = &operation["responses"]["default"];
            assert!(default.is_object(), "{method} {path} has no error");
            let takes_nothing = [
                "/v1/daemon/stop",
                "/v1/daemon/reload",
                "/v1/images/{name}",
                "/v1/volumes/{name}",
            ];
            let takes_body = ["post", "put", "patch", "delete"].contains(&method.as_str())
                && !takes_nothing.contains(&path.as_str());
            assert_eq!(
                operation["requestBody"].is_object(),
                takes_body,
                "{method} {path}"
            );
        }
    }
}
