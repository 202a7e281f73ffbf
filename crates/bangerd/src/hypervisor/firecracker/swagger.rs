//! Compares every request that the driver can send with Firecracker's own description of its API
//! (Swagger 2.0), if that file is beside the project.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::machine::{requests, tests::machine};
use super::requests::{Action, Request};
use crate::machine::DiskCache;

/// The description, beside the project's own folder, or beside that of a work tree.
fn description() -> Option<Value> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let places = project.ancestors().skip(1).take(2);
    let mut places = places.map(|it| it.join("shared/firecracker.yaml"));
    let path: PathBuf = places.find(|it| it.exists())?;
    let text = std::fs::read_to_string(path).unwrap();
    Some(serde_yaml_ng::from_str(&text).unwrap())
}

/// Prints a skip line, which `tools/test` counts. `println` would be captured in a test that
/// passes.
fn skipped(name: &str) {
    use std::io::Write as _;
    let reason = "there is no `shared/firecracker.yaml` beside the project";
    writeln!(std::io::stderr(), "SKIPPED: {name}: {reason}").unwrap();
}

fn every_request() -> Vec<Request> {
    let mut unsafely = machine();
    unsafely.disk_cache = DiskCache::Unsafe;
    let mut largest = machine();
    largest.vcpu = 32;
    largest.interfaces[0].mtu = 65_535;
    let mut smallest = machine();
    smallest.vcpu = 1;
    smallest.interfaces[0].mtu = 68;
    let mut all = vec![Request::Version, Request::Action(Action::SendCtrlAltDel)];
    for machine in [machine(), unsafely, largest, smallest] {
        all.extend(requests(&machine, Path::new("")).unwrap());
    }
    all
}

/// The operation of a request: its path's, whose last part may be a parameter.
fn operation<'a>(description: &'a Value, request: &Request) -> &'a Value {
    let path = request.path();
    let paths = description["paths"].as_object().unwrap();
    let fits = |pattern: &str| match pattern.split_once('{') {
        None => pattern == path,
        Some((before, _)) => path
            .strip_prefix(before)
            .is_some_and(|it| !it.contains('/')),
    };
    let (_, found) = paths
        .iter()
        .find(|(pattern, _)| fits(pattern))
        .unwrap_or_else(|| panic!("there is no path `{path}`"));
    let method = request.method().to_lowercase();
    assert!(found.get(&method).is_some(), "{method} of `{path}`");
    &found[&method]
}

fn resolve<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(place) => {
            let name = place.strip_prefix("#/definitions/").unwrap();
            &description["definitions"][name]
        }
        None => schema,
    }
}

/// The faults of the value, one line for each.
fn faults(description: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolve(description, schema);
    let mut found = Vec::new();
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        other => panic!("a type that this test does not know: {other:?}"),
    };
    if !fits {
        found.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{at}: {value} is none of {allowed:?}"));
    }
    for (bound, wrong) in [("minimum", -1), ("maximum", 1)] {
        if let (Some(bound), Some(number)) = (schema[bound].as_i64(), value.as_i64())
            && number.cmp(&bound) as i32 == wrong
        {
            found.push(format!("{at}: {number} is out of range"));
        }
    }
    if let Some(fields) = value.as_object() {
        found.extend(faults_of_fields(description, schema, fields, at));
    }
    found
}

fn faults_of_fields(
    description: &Value,
    schema: &Value,
    fields: &Map<String, Value>,
    at: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.push(format!("{at}: `{name}` is missing"));
        }
    }
    for (name, value) in fields {
        match schema["properties"].get(name) {
            Some(schema) => found.extend(faults(description, schema, value, name)),
            None => found.push(format!("{at}: there is no `{name}`")),
        }
    }
    found
}

/// The faults of a body of this operation.
fn faults_of_body(description: &Value, operation: &Value, body: &Value, at: &str) -> Vec<String> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameter = parameters
        .into_iter()
        .find(|parameter| parameter["in"] == "body")
        .unwrap_or_else(|| panic!("{at} takes no body"));
    faults(description, &parameter["schema"], body, at)
}

#[test]
fn every_request_is_as_firecracker_describes_it() {
    let Some(description) = description() else {
        return skipped("every_request_is_as_firecracker_describes_it");
    };
    for request in every_request() {
        let at = format!("{} {}", request.method(), request.path());
        let operation = operation(&description, &request);
        let body = request.body().unwrap();
        if body.is_empty() {
            assert_eq!(request.method(), "GET", "{at} has no body");
            continue;
        }
        let body = serde_json::from_slice(&body).unwrap();
        let found = faults_of_body(&description, operation, &body, &at);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn a_request_that_is_not_as_described_would_be_seen() {
    let Some(description) = description() else {
        return skipped("a_request_that_is_not_as_described_would_be_seen");
    };
    let request = &requests(&machine(), Path::new("")).unwrap()[0];
    let operation = operation(&description, request);
    let right: Value = serde_json::from_slice(&request.body().unwrap()).unwrap();
    let wrongs: [(&str, fn(&mut Map<String, Value>)); 5] = [
        ("is missing", |body| {
            body.remove("vcpu_count");
        }),
        ("there is no `colour`", |body| {
            body.insert("colour".to_owned(), Value::from("red"));
        }),
        ("is out of range", |body| {
            body.insert("vcpu_count".to_owned(), Value::from(33));
        }),
        ("is no", |body| {
            body.insert("mem_size_mib".to_owned(), Value::from("2G"));
        }),
        ("is none of", |body| {
            body.insert("huge_pages".to_owned(), Value::from("1G"));
        }),
    ];
    for (expected, spoil) in wrongs {
        let mut wrong = right.clone();
        spoil(wrong.as_object_mut().unwrap());
        let found = faults_of_body(&description, operation, &wrong, "body");
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{expected}: {found:?}"
        );
    }
}
