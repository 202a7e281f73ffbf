//! The OpenAPI document.

use std::collections::BTreeSet;

use banger_api::{CreateVolume, DeleteVm, ExportVm, ImageName, ImportImage, KillVm, StartVm};
use serde_json::Value;

use banger_api::exec::ExecFrame;

use super::*;

/// Every path that a client may rely on.
const PATHS: &[(&str, &str)] = &[
    ("GET", "/v1/version"),
    ("GET", "/v1/daemon"),
    ("POST", "/v1/daemon/stop"),
    ("GET", "/v1/host"),
    ("GET", "/v1/doctor"),
    ("POST", "/v1/daemon/reload"),
    ("PUT", "/v1/daemon/log-level"),
    ("GET", "/v1/metrics"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/v1/events"),
    ("GET", "/v1/vms"),
    ("POST", "/v1/vms"),
    ("POST", "/v1/stop"),
    ("GET", "/v1/vms/{ref}"),
    ("PATCH", "/v1/vms/{ref}"),
    ("DELETE", "/v1/vms/{ref}"),
    ("POST", "/v1/vms/{ref}/start"),
    ("POST", "/v1/vms/{ref}/stop"),
    ("POST", "/v1/vms/{ref}/restart"),
    ("POST", "/v1/vms/{ref}/kill"),
    ("POST", "/v1/vms/{ref}/rename"),
    ("POST", "/v1/vms/{ref}/clone"),
    ("POST", "/v1/vms/{ref}/export"),
    ("POST", "/v1/import"),
    ("GET", "/v1/volumes"),
    ("POST", "/v1/volumes"),
    ("GET", "/v1/volumes/{name}"),
    ("DELETE", "/v1/volumes/{name}"),
    ("GET", "/v1/trash"),
    ("DELETE", "/v1/trash/{ref}"),
    ("POST", "/v1/trash/{ref}/undelete"),
    ("GET", "/v1/vms/{ref}/exec"),
    ("GET", "/v1/vms/{ref}/copy"),
    ("GET", "/v1/vms/{ref}/lifeline"),
    ("GET", "/v1/vms/{ref}/detach"),
    ("GET", "/v1/vms/{ref}/jobs"),
    ("DELETE", "/v1/vms/{ref}/jobs"),
    ("GET", "/v1/vms/{ref}/jobs/{job}/attach"),
    ("POST", "/v1/vms/{ref}/jobs/{job}/kill"),
    ("DELETE", "/v1/vms/{ref}/jobs/{job}"),
    ("GET", "/v1/vms/{ref}/connect"),
    ("GET", "/v1/vms/{ref}/listen"),
    ("GET", "/v1/vms/{ref}/accept"),
    ("GET", "/v1/vms/{ref}/forwards"),
    ("POST", "/v1/vms/{ref}/forwards"),
    ("DELETE", "/v1/vms/{ref}/forwards"),
    ("GET", "/v1/vms/{ref}/console"),
    ("GET", "/v1/vms/{ref}/ports"),
    ("GET", "/v1/vms/{ref}/stats"),
    ("GET", "/v1/vms/{ref}/logs"),
    ("GET", "/v1/vms/{ref}/logs?follow=true"),
    ("GET", "/v1/vms/{ref}/logs?source=hypervisor"),
    ("GET", "/v1/images"),
    ("POST", "/v1/images"),
    ("GET", "/v1/images/{name}"),
    ("DELETE", "/v1/images/{name}"),
    ("POST", "/v1/images/{name}/rename"),
    ("POST", "/v1/images/{name}/export"),
    ("POST", "/v1/images/prune"),
    ("POST", "/v1/images/build"),
];

fn document(server: &TestServer) -> Value {
    let answer = server.raw("GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn every_path_is_described_and_every_described_path_is_there() {
    let server = TestServer::with_trash();
    let document = document(&server);
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .keys()
                .map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let promised: BTreeSet<(String, String)> = PATHS
        .iter()
        .filter(|(_, path)| !path.contains('?'))
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(described, promised);
    // A reload turns the trash off, because the file does not mention it.
    let (of_trash, others): (Vec<_>, Vec<_>) = described
        .iter()
        .partition(|(_, path)| path.contains("/trash/"));
    for (method, path) in of_trash.into_iter().chain(others) {
        // Stopping comes last, when the server is dropped.
        if path == "/v1/daemon/stop" || path == "/v1/events" {
            continue;
        }
        let path = path.replace("{ref}", "calm-otter");
        if server.engine.show(&vm("calm-otter")).is_err() {
            server
                .client()
                .create(&named("calm-otter"), nothing)
                .unwrap();
        }
        if path.contains("/trash/") {
            only_in_trash(&server);
        }
        let is_of_job = path.contains("/jobs");
        let is_of_running = is_of_job || path.ends_with("/ports") || path.ends_with("/stats");
        if is_of_running {
            let start = StartVm::default();
            let started = server.client().start(&vm("calm-otter"), &start, nothing);
            started.unwrap();
        }
        if is_of_job {
            start_job(&server);
        }
        let path = path.replace("{job}", "mine");
        if path == "/v1/import" {
            let request = ExportVm {
                path: "/state/vm".to_owned(),
                force: true,
            };
            let exported = server
                .client()
                .export_vm(&vm("calm-otter"), &request, nothing);
            exported.unwrap();
        }
        let path = path.replace("{name}", "mine");
        if path == "/v1/volumes/mine" {
            let request = CreateVolume {
                name: "mine".to_owned(),
                size: None,
            };
            // The one of the previous request exists, unless that deleted it.
            let _ = server.client().create_volume(&request, nothing);
        }
        if path.contains("/images/mine") && server.engine.image(&mine()).is_err() {
            import_mine(&server);
        }
        let path = path.replace("/connect", "/connect?tcp=80");
        let path = path.replace("/listen", "/listen?tcp=80");
        let path = path.replace("/accept", "/accept?connection=7");
        let answer = server.raw(&request(method, &path, least_body(&path)));
        // Only an upgrade has no plain response; a test of its own covers it.
        let expected = if is_upgrade(&path) {
            "HTTP/1.1 409 "
        } else {
            "HTTP/1.1 200 "
        };
        assert!(answer.starts_with(expected), "{method} {path}: {answer}");
        if is_of_running {
            let kill = KillVm::default();
            let killed = server.client().kill(&vm("calm-otter"), &kill, nothing);
            killed.unwrap();
        }
    }
}

/// Whether a path is for upgraded connections.
fn is_upgrade(path: &str) -> bool {
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

/// Starts a job named `mine` that runs until it is ended.
fn start_job(server: &TestServer) {
    use std::io::{Read as _, Write as _};
    let mut stream = server.client().detach(&vm("calm-otter")).unwrap();
    let word = ExecFrame::Word(b"stay".to_vec());
    let start = ExecFrame::Start(br#"{"name":"mine"}"#.to_vec());
    for frame in [word, start] {
        stream.socket.write_all(&frame.encode()).unwrap();
    }
    stream.socket.read_to_end(&mut Vec::new()).unwrap();
}

/// Puts only this VM into the trash, and frees its name.
fn only_in_trash(server: &TestServer) {
    let client = server.client();
    for vm in client.trash().unwrap() {
        client.purge(&vm.id.into(), nothing).unwrap();
    }
    let by_force = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    client
        .delete(&vm("calm-otter"), &by_force, nothing)
        .unwrap();
}

fn mine() -> ImageName {
    "mine".parse().unwrap()
}

fn import_mine(server: &TestServer) {
    let request = ImportImage {
        name: mine().to_string(),
        path: "/file".to_owned(),
        origin: None,
    };
    server.client().import_image(&request, nothing).unwrap();
}

/// The minimal body of a request; most need none.
fn least_body(path: &str) -> &'static str {
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

fn request(method: &str, path: &str, body: &str) -> String {
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
