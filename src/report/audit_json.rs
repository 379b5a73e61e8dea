//! An audit for programs, by `results/path.schema.json`.

use std::io;

use serde::Serialize;

use crate::audit::{Audit, AuditedDevice, Source};

/// Version of the layout; the schema's `$id` ends in it.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    tool: Tool,
    source: &'a Source,
    devices: &'a [AuditedDevice],
    notes: &'a [String],
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

/// Writes the audit as one JSON object over several lines, with a newline at the end.
///
/// # Errors
/// Those of `out`.
pub fn write(audit: &Audit, out: &mut impl io::Write) -> io::Result<()> {
    let document = Document {
        schema_version: SCHEMA_VERSION,
        tool: Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
        source: &audit.source,
        devices: &audit.devices,
        notes: &audit.notes,
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    out.write_all(b"\n")
}
