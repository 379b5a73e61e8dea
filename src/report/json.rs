//! The report for programs: the values of [`super::Report`], under the names of `results/verify.schema.json`, or of
//! [`super::latency::LatencyReport`].

use std::io;

use serde::Serialize;
use serde_json::Serializer;

use super::compact_numbers::CompactNumbers;
use super::document::Document;
use super::run::Report;

/// Writes the report as one JSON object over several lines, with a newline at the end.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &Report, out: &mut impl io::Write) -> io::Result<()> {
    report.serialize(&mut Serializer::with_formatter(&mut *out, CompactNumbers::default()))?;
    out.write_all(b"\n")
}

/// The same of a report of either kind.
///
/// # Errors
/// Those of `out`.
pub fn write_document(document: &Document, out: &mut impl io::Write) -> io::Result<()> {
    document.serialize(&mut Serializer::with_formatter(&mut *out, CompactNumbers::default()))?;
    out.write_all(b"\n")
}
