//! Any text as a report: it is read or refused, and what was read is a text report and, written again, the same report.

use std::path::Path;

use aqlprobe::report::{Document, Report, TextStyle, json, text};

pub fn run(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    match Document::parse(&input, Path::new("report.json")) {
        Ok(Document::Verify(report)) => verify(&report),
        Ok(Document::Latency(_)) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn verify(report: &Report) {
    text::write(report, TextStyle::PLAIN, &mut std::io::sink()).expect("a sink takes everything");
    let mut written = Vec::new();
    json::write(report, &mut written).expect("a vector takes everything");
    let again = String::from_utf8(written).expect("JSON is text");
    let Ok(Document::Verify(again)) = Document::parse(&again, Path::new("again.json")) else {
        panic!("a report that was read is not read again");
    };
    assert_eq!(serde_json::to_value(report).ok(), serde_json::to_value(&again).ok());
}
