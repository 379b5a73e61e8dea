//! The joined report of `aqlprobe guest run` keeps to its published schema, and what ran in the guest to those of its own.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read must fail it")]

#[path = "support/schema.rs"]
mod schema;

use std::fs;
use std::path::PathBuf;

use schema::violations;
use serde_json::{Value, json};

fn results(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results").join(name)
}

fn read(path: PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_reference_reports_of_guests_keep_to_the_schemas_of_host_and_guest() {
    let mut seen = 0;
    for entry in fs::read_dir(results("guest")).unwrap() {
        let path = entry.unwrap().path();
        let report = read(path.clone());
        assert_eq!(violations("guest", &report), Vec::<String>::new(), "{}", path.display());
        for step in report["guest"]["steps"].as_array().unwrap() {
            let name = step["name"].as_str().unwrap();
            let schema = match name.split(' ').next().unwrap() {
                "verify" => "verify",
                "path" => "path",
                _ => continue,
            };
            let mut own = step["report"].clone();
            if schema == "verify" {
                // The reference runs are older than the key that tells verify reports from latency reports in files.
                own.as_object_mut().unwrap().entry("document").or_insert("verify".into());
            }
            assert_eq!(violations(schema, &own), Vec::<String>::new(), "{}: {name}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 4, "the folder holds two runs with two such steps or more, not {seen}");
}

#[test]
fn the_schema_refuses_what_the_layout_does_not_have() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut report = read(results("guest/fuzz-600s.json"));
        change(&mut report);
        assert_ne!(violations("guest", &report), Vec::<String>::new());
    };
    refused(&|report| report["schema_version"] = 2.into());
    refused(&|report| report["bed"] = "a GPU".into());
    refused(&|report| report["host"]["hops"]["switch"] = "maybe".into());
    refused(&|report| report["host"]["extra"] = true.into());
    refused(&|report| report["guest"]["functions"][0]["devctl2"] = 65536.into());
    refused(&|report| report["guest"]["steps"][0]["status"] = "0".into());
    refused(&|report| {
        let steps = report["guest"]["steps"].as_array_mut().unwrap();
        let fuzz = steps.iter_mut().find(|step| step["name"] == "fuzz").unwrap();
        fuzz["report"] = json!({ "seed": 1 });
    });
    refused(&|report| report["verdict"]["exit_code"] = (-1).into());
}
