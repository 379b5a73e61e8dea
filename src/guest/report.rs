//! What host and guest saw, joined.

use serde::Serialize;
use serde_json::Value;

use crate::report::{ExitCode, Tool};

use super::answer::{Answer, PciFunction};
use super::options::{Accelerator, Hops, RequesterEnable};

/// The bed, in every report: what was tested is no hardware.
const BED: &str = "a real Linux with a real vfio-pci in QEMU, on the software GPU's PCIe endpoint; no hardware was tested";

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
pub struct GuestReport {
    /// Version of this layout; grows with every incompatible change.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// What was tested on.
    pub bed: &'static str,
    /// Seconds since the epoch, UTC.
    pub started_at: u64,
    /// How long the whole run took.
    pub duration_ms: u64,
    /// The host's side.
    pub host: HostView,
    /// The guest's side.
    pub guest: GuestView,
    /// The last word.
    pub verdict: Verdict,
}

/// What the host gave the guest, and what it saw of it.
#[derive(Clone, Debug, Serialize)]
pub struct HostView {
    /// Who executed the guest.
    pub accelerator: Accelerator,
    /// Why it was not the one asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator_note: Option<String>,
    /// How many processors the guest was given.
    pub processors: u8,
    /// Version of the QEMU package.
    pub qemu: String,
    /// Name of the kernel among the assets.
    pub kernel: String,
    /// The modelled way from the endpoint to host memory, which the guest's ports were made to show.
    pub hops: Hops,
    /// What became of the guest's writes to the requester's bit.
    pub requester_enable: RequesterEnable,
    /// The faults that the endpoint, the path or the worker in the guest was given on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub injected: Option<String>,
    /// What the endpoint logged.
    pub endpoint_log: Vec<String>,
    /// What QEMU printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub qemu_log: Vec<String>,
}

/// What the guest said.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GuestView {
    /// `uname -r`.
    pub release: String,
    /// Online processors.
    pub processors: usize,
    /// From the kernel's start to user space, milliseconds of the guest's clock.
    pub boot_ms: u64,
    /// The functions from the root port down to the device, before any step.
    pub functions: Vec<PciFunction>,
    /// What was done to the machine, or could not be.
    pub notes: Vec<String>,
    /// The steps, in order.
    pub steps: Vec<StepReport>,
}

/// One run of this program in the guest.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// Exit status; absent when a signal ended it.
    pub status: Option<i32>,
    /// Whether its deadline ended it.
    pub overran: bool,
    /// How long it took.
    pub duration_ms: u64,
    /// Its own report, in its own layout (`verify.schema.json`, `path.schema.json`), or text.
    pub report: Value,
    /// What it said beside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

/// The last word.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// One sentence.
    pub sentence: String,
    /// What this program exits with: what the deciding step exited with, 1 when it gave no answer.
    pub exit_code: u8,
}

impl StepReport {
    /// The step's own last word, when it is a verify report.
    pub(super) fn verdict(&self) -> Option<(&str, &str)> {
        let verdict = self.report.get("verdict")?;
        Some((verdict.get("word")?.as_str()?, verdict.get("sentence")?.as_str()?))
    }
}

impl GuestView {
    fn from_answers(answers: Vec<Answer>) -> Self {
        let mut view = Self::default();
        for answer in answers {
            match answer {
                Answer::Booted { release, processors, uptime_ms } => {
                    (view.release, view.processors, view.boot_ms) = (release, processors, uptime_ms);
                }
                Answer::Note { text } => view.notes.push(text),
                Answer::Functions { functions } => view.functions = functions,
                Answer::Finished { name, status, overran, duration_ms, stdout, stderr } => {
                    view.steps.push(StepReport { name, status, overran, duration_ms, report: stdout, stderr });
                }
                Answer::Started { .. } | Answer::Done => {}
            }
        }
        view
    }
}

impl GuestReport {
    /// The layout that this version of the tool writes.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Joins both sides. The step called `deciding` decides the exit code; without a name, the last step does.
    pub(super) fn joined(started_at: u64, duration_ms: u64, host: HostView, answers: Vec<Answer>, deciding: Option<&str>) -> Self {
        let guest = GuestView::from_answers(answers);
        let verdict = verdict(&guest, deciding);
        Self { schema_version: Self::SCHEMA_VERSION, tool: Tool::THIS, bed: BED, started_at, duration_ms, host, guest, verdict }
    }
}

fn verdict(guest: &GuestView, deciding: Option<&str>) -> Verdict {
    let failed = |sentence: String| Verdict { sentence, exit_code: ExitCode::CheckFailed.status() };
    let step = match deciding {
        Some(name) => guest.steps.iter().find(|step| step.name == name),
        None => guest.steps.last(),
    };
    let Some(step) = step else { return failed("the guest ran no step that could answer".to_owned()) };
    match step.status.map(u8::try_from) {
        Some(Ok(code)) => {
            let sentence = step.verdict().map_or_else(
                || format!("`{}` exited with {code} in the guest", step.name),
                |(word, sentence)| format!("`{}` in the guest: {word}: {sentence}", step.name),
            );
            Verdict { sentence, exit_code: code }
        }
        _ if step.overran => failed(format!("`{}` did not end within its deadline in the guest", step.name)),
        _ => failed(format!("`{}` was ended by a signal in the guest", step.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(name: &str, status: Option<i32>, overran: bool) -> Answer {
        Answer::Finished { name: name.to_owned(), status, overran, duration_ms: 1, stdout: Value::Null, stderr: String::new() }
    }

    fn code(answers: Vec<Answer>, deciding: Option<&str>) -> u8 {
        verdict(&GuestView::from_answers(answers), deciding).exit_code
    }

    #[test]
    fn the_deciding_steps_exit_code_is_the_runs() {
        let answers =
            vec![finished("verify off", Some(3), false), finished("verify on", Some(0), false), finished("path", Some(1), false)];
        assert_eq!(code(answers.clone(), Some("verify on")), 0);
        assert_eq!(code(answers.clone(), Some("verify off")), 3);
        assert_eq!(code(answers, None), 1);
    }

    #[test]
    fn a_step_without_an_answer_is_a_failure() {
        assert_eq!(code(vec![finished("verify", None, true)], None), 1);
        assert_eq!(code(vec![finished("verify", None, false)], None), 1);
        assert_eq!(code(vec![finished("verify", Some(256), false)], None), 1);
        assert_eq!(code(vec![finished("path", Some(0), false)], Some("verify")), 1);
        assert_eq!(code(vec![], None), 1);
    }
}
