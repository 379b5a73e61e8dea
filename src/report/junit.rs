//! JUnit XML, as Jenkins and everything after it reads it. One suite per device and state of AtomicOps, and one for the verdict.
//!
//! Kept to the common core of the published schemas: properties belong to suites, the reason of a skip is text.

use std::io;
use std::time::Duration;

use chrono::DateTime;
use quick_junit::{NonSuccessKind, Report as Xml, TestCase, TestCaseStatus, TestSuite};

use super::checklist::{Check, Checklist, HardwareDemand, Ruling};
use super::document::Document;
use super::render::{Refusal, RenderError, Renderer};
use super::run::ExitCode;
use super::style::tame;

pub(super) struct JunitRenderer {
    pub demand: HardwareDemand,
}

impl Renderer for JunitRenderer {
    fn report(&self, document: &Document, out: &mut dyn io::Write) -> Result<(), RenderError> {
        let list = Checklist::of(document, self.demand);
        let bed = document.bed().kind.name();
        let mut xml = Xml::new(clean(&format!("{} ({})", list.command, list.bed)));
        xml.set_time(Duration::from_millis(list.duration_ms));
        let verdict_class = format!("{}.{bed}", list.command.replace(' ', "."));
        for suite in &list.suites {
            let cases = suite.checks.iter().map(|check| test_case(check, &suite.class));
            let mut xml_suite =
                dated(TestSuite::new(clean(&format!("{} ({bed}): {}", list.command, suite.title))), list.started_at);
            xml_suite.set_time(Duration::from_millis(suite.checks.iter().filter_map(|check| check.duration_ms).sum()));
            xml_suite.add_properties(suite.properties.iter().map(|(name, value)| (name.clone(), clean(value))));
            xml_suite.add_test_cases(cases);
            xml.add_test_suite(xml_suite);
        }
        let mut last = dated(TestSuite::new(format!("{} ({bed}): verdict", list.command)), list.started_at);
        last.set_time(Duration::ZERO);
        last.add_property(("bed", bed));
        last.add_property(("hardware_tested", document.bed().tested_hardware().to_string().as_str()));
        last.add_property(("exit_code", list.exit_code.status().to_string().as_str()));
        last.add_test_case(test_case(&list.verdict, &verdict_class));
        xml.add_test_suite(last);
        Ok(out.write_all(with_skipped(&xml.to_string()?).as_bytes())?)
    }

    fn refusal(&self, refusal: &Refusal) -> Option<String> {
        let command = format!("aqlprobe {}", refusal.command.name());
        let ruling = match refusal.exit_code {
            ExitCode::NoHardware if self.demand == HardwareDemand::Optional => Ruling::NoHardware,
            _ => Ruling::Broken,
        };
        let check = Check {
            name: "verdict".to_owned(),
            ruling,
            outcome: "not-run".to_owned(),
            message: tame(&refusal.reason),
            details: Vec::new(),
            duration_ms: None,
        };
        let mut suite = TestSuite::new(format!("{command}: verdict"));
        suite.add_test_case(test_case(&check, &command.replace(' ', ".")));
        let mut xml = Xml::new(command);
        xml.add_test_suite(suite);
        xml.to_string().ok().map(|xml| with_skipped(&xml))
    }
}

/// The suites' number of skipped cases by the name that the schemas have for it: quick-junit counts them as `disabled`, which Jenkins' schema
/// lacks. Neither a value nor text can hold what is looked for, because the writer escapes `<`, `>` and `"` in them.
fn with_skipped(xml: &str) -> String {
    let mut parts = xml.split("<testsuite ");
    let head = parts.next().unwrap_or_default().to_owned();
    parts.fold(head, |done, part| format!("{done}<testsuite {}", part.replacen(" disabled=\"", " skipped=\"", 1)))
}

fn dated(mut suite: TestSuite, started_at: u64) -> TestSuite {
    let started = i64::try_from(started_at).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    if let Some(started) = started {
        suite.set_timestamp(started.fixed_offset());
    }
    suite
}

fn test_case(check: &Check, class: &str) -> TestCase {
    let mut status = match check.ruling {
        Ruling::Passed => TestCaseStatus::success(),
        Ruling::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Ruling::Broken => TestCaseStatus::non_success(NonSuccessKind::Error),
        Ruling::FailedAsPredicted | Ruling::Untestable | Ruling::KnownDefect | Ruling::NoHardware => TestCaseStatus::skipped(),
    };
    let told = told(check);
    if check.ruling.is_failure() {
        status.set_type(clean(&check.outcome)).set_message(clean(&check.message)).set_description(clean(&told));
    } else if check.ruling != Ruling::Passed {
        status.set_description(clean(&format!("{}: {told}", check.ruling.name())));
    }
    let mut case = TestCase::new(clean(&check.name), status);
    case.set_classname(clean(class));
    case.set_time(Duration::from_millis(check.duration_ms.unwrap_or_default()));
    if check.ruling == Ruling::Passed && told != check.outcome {
        case.set_system_out(clean(&told));
    }
    case
}

/// The message and what else is known, a line each.
fn told(check: &Check) -> String {
    check.more().fold(check.message.clone(), |told, (label, text)| format!("{told}\n{label}: {text}"))
}

/// Without the two characters of Unicode's first plane that XML 1.0 §2.2 leaves out and the writer lets through.
fn clean(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
