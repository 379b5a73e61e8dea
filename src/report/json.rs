//! The report for programs: the values of [`super::Report`], under the names of `results/verify.schema.json`, or of
//! [`super::latency::LatencyReport`].

use std::io;

use serde::Serialize;

/// Writes the report as one JSON object over several lines, with a newline at the end.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &impl Serialize, out: &mut impl io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    out.write_all(b"\n")
}
