//! Documents, held against the published schemas in results/.

use std::fs;

use serde_json::Value;

/// A schema by its document's name.
pub fn read(name: &str) -> Value {
    let path = format!("{}/results/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Where a document does not keep to a schema.
pub fn violations(name: &str, instance: &Value) -> Vec<String> {
    let schema = read(name);
    assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name}");
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect()
}
