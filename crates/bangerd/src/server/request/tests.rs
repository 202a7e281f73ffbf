use banger_api::CreateVm;

use super::*;

fn refusal(body: &str) -> String {
    let error = parse::<CreateVm>(body.as_bytes()).unwrap_err();
    assert_eq!(error.code, Code::Invalid);
    error.causes.join(": ")
}

#[test]
fn a_client_that_prefers_json_to_lines_gets_one_answer() {
    for (accepted, expected) in [
        (&[][..], ReplyMode::Lines),
        (&["*/*"], ReplyMode::Lines),
        (&["application/*"], ReplyMode::Lines),
        (&["application/x-ndjson"], ReplyMode::Lines),
        (&["application/json"], ReplyMode::Once),
        (&["application/JSON; charset=utf-8"], ReplyMode::Once),
        (&["application/json, text/plain, */*"], ReplyMode::Once),
        (&["text/html", "application/json;q=0.5"], ReplyMode::Once),
        (
            &["application/json, application/x-ndjson"],
            ReplyMode::Lines,
        ),
        (
            &["application/x-ndjson;q=0.4, application/json ; q=0.5"],
            ReplyMode::Once,
        ),
        (
            &["application/json;q=0.4", "application/x-ndjson;q=0.5"],
            ReplyMode::Lines,
        ),
        (&["application/json;q=0"], ReplyMode::Lines),
        (&["application/json;q=none"], ReplyMode::Lines),
    ] {
        assert_eq!(
            preferred(accepted.iter().copied()),
            expected,
            "{accepted:?}"
        );
    }
}

#[test]
fn an_empty_body_asks_for_the_defaults() {
    assert_eq!(parse::<CreateVm>(b"").unwrap(), CreateVm::default());
    assert_eq!(parse::<CreateVm>(b" \n").unwrap(), CreateVm::default());
    assert_eq!(parse::<CreateVm>(b"{}").unwrap(), CreateVm::default());
}

#[test]
fn a_number_is_whole_however_it_is_written() {
    for two in ["2", "2.0", "0.2e1", "20e-1"] {
        let asked: CreateVm =
            parse(format!("{{\"spec\": {{\"vcpu\": {two}}}}}").as_bytes()).unwrap();
        assert_eq!(asked.spec.vcpu, Some(2), "{two}");
        let steps = format!(
            "{{\"name\": \"web\", \"steps\": [{{\"name\": \"\", \"script\": \"\", \"timeout_seconds\": {two}}}]}}"
        );
        let asked: banger_api::BuildImage = parse(steps.as_bytes()).unwrap();
        assert_eq!(asked.steps[0].timeout_seconds, Some(2), "{two}");
    }
}

#[test]
fn a_list_is_no_request() {
    for list in [
        "[]",
        "[null]",
        "[null, null]",
        " [\"web\", null]",
        "null",
        "7",
        "\"web\"",
    ] {
        refusal(list);
    }
}

#[test]
fn an_invalid_body_is_reported_with_field_line_and_column() {
    assert_eq!(
        refusal("{\n  \"spec\": {\"vcpu\": \"two\"}\n}"),
        "`spec.vcpu`: invalid type: string \"two\", expected u32 at line 2 column 24"
    );
    assert!(refusal("{\"vcpus\": 2}").contains("unknown field `vcpus`, expected one of `name`"));
    assert!(refusal("{\"vcpus\": 2}").contains("line 1 column 8"));
    assert!(refusal("{\"no_start\": true,}").contains("line 1 column 19"));
    assert!(refusal("{} {}").contains("trailing characters at line 1 column 4"));
    assert!(refusal("[").contains("line 1 column 1"));
    assert!(
        refusal("{\"spec\": {\"vcpu\": 2.5}}")
            .contains("`spec.vcpu`: invalid type: floating point `2.5`")
    );
    assert!(refusal("{\"spec\": {\"vcpu\": 1e300}}").contains("`spec.vcpu`"));
    assert!(refusal(&"[".repeat(10_000)).contains("line 1"));
}

#[test]
fn a_repeated_key_is_refused() {
    let error = refusal(r#"{"name": "a", "name": "b"}"#);
    assert!(error.contains("duplicate field `name`"), "{error}");
}
