//! Every path of the OpenAPI document, requested.

use std::collections::BTreeSet;

use banger_api::exec::ExecFrame;
use banger_api::{CreateVolume, DeleteVm, ExportVm, ImageName, ImportImage, KillVm, StartVm};

use super::document::{document, is_upgrade, least_body, request};
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
