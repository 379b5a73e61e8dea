//! The JSON report keeps to its published schema.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/report_samples.rs"]
mod samples;
#[path = "support/schema.rs"]
mod schema;

use aqlprobe::report::{Report, json};
use serde_json::Value;

fn as_json(report: &Report) -> Value {
    let mut bytes = Vec::new();
    json::write(report, &mut bytes).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn violations(instance: &Value) -> Vec<String> {
    schema::violations("verify", instance)
}

fn every_sample() -> Vec<Report> {
    vec![samples::embedded_both(), samples::embedded_off(), samples::self_test(), samples::hardware_with_every_outcome()]
}

#[test]
fn the_schema_is_a_valid_2020_12_schema_without_a_host() {
    assert!(jsonschema::draft202012::meta::is_valid(&schema::read("verify")));
    assert_eq!(schema::read("verify")["$id"], "urn:aqlprobe:schema:verify:1");
}

#[test]
fn every_kind_of_report_keeps_to_the_schema() {
    for report in every_sample() {
        assert_eq!(violations(&as_json(&report)), Vec::<String>::new());
    }
}

#[test]
fn the_reference_reports_keep_to_the_schema() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/results");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_latency = name.starts_with("latency");
        if name.ends_with(".json") && !name.ends_with(".schema.json") && !is_latency {
            let reference = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(violations(&reference), Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn the_schema_refuses_what_the_layout_does_not_have() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut instance = as_json(&samples::embedded_both());
        change(&mut instance);
        assert_ne!(violations(&instance), Vec::<String>::new());
    };
    refused(&|report| report["schema_version"] = 2.into());
    refused(&|report| report["extra"] = true.into());
    refused(&|report| report["bed"]["kind"] = "embedded-self-test".into());
    refused(&|report| report["verdict"]["word"] = "MAYBE".into());
    refused(&|report| report["verdict"]["exit_code"] = 6.into());
    refused(&|report| report["devices"][0]["path"]["hops"][0]["routing"] = true.into());
    refused(&|report| report["devices"][0]["runs"][0]["cases"][0]["outcome"]["kind"] = "lost".into());
    refused(&|report| report["devices"][0]["runs"][0]["cases"][0]["outcome"]["detail"] = "x".into());
    refused(&|report| report["devices"][0]["runs"][0]["requester"]["enabled"] = Value::Null);
    refused(&|report| report["devices"][0]["bdf"] = "0b:00.0".into());
    refused(&|report| report["runtime"]["build"] = "".into());
    refused(&|report| report["runtime"]["timestamp_hz"] = Value::Null);
    refused(&|report| report["devices"][0]["doorbell"] = "mmio".into());
    refused(&|report| report["devices"][0]["agent"]["compute_units"] = (-1).into());
}

/// An object schema that leaves `additionalProperties` open would let a renamed field pass unseen.
#[test]
fn every_object_of_the_schema_is_closed_and_described() {
    fn walk(at: &str, schema: &Value, open: &mut Vec<String>) {
        let Value::Object(fields) = schema else {
            if let Value::Array(items) = schema {
                items.iter().enumerate().for_each(|(index, item)| walk(&format!("{at}/{index}"), item, open));
            }
            return;
        };
        if fields.contains_key("properties")
            && !at.contains("/if")
            && fields.get("additionalProperties") != Some(&Value::Bool(false))
        {
            open.push(format!("{at} is not closed"));
        }
        if fields.contains_key("additionalProperties") && !fields.contains_key("description") {
            open.push(format!("{at} has no description"));
        }
        fields.iter().for_each(|(name, field)| walk(&format!("{at}/{name}"), field, open));
    }
    let mut open = Vec::new();
    walk("", &schema::read("verify"), &mut open);
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn the_json_has_the_words_of_the_text() {
    let report = as_json(&samples::embedded_both());
    let runs = &report["devices"][0]["runs"];
    assert_eq!(runs[0]["atomics"], "off");
    assert_eq!(runs[0]["cases"][1]["name"], "vector-copy");
    assert_eq!(runs[0]["cases"][1]["outcome"]["kind"], "completion-lost");
    assert_eq!(runs[0]["cases"][1]["evidence"]["output"]["right"], 1_048_576);
    assert_eq!(runs[0]["cases"][1]["evidence"]["fabric"]["requester_disabled"], 1);
    assert_eq!(runs[1]["cases"][1]["outcome"]["kind"], "completed");
    assert_eq!(report["verdict"]["exit_code"], 0);
}
