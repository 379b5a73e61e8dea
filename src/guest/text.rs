//! The joined report for people.

use std::io::{self, Write};

use serde_json::Value;

use super::options::Switch;
use super::report::{GuestReport, StepReport};

/// Writes the report.
///
/// # Errors
/// When it cannot be written.
pub fn write(report: &GuestReport, to: &mut impl Write) -> io::Result<()> {
    let (host, guest) = (&report.host, &report.guest);
    match &host.injected {
        None => writeln!(to, "aqlprobe guest: {}", report.bed)?,
        Some(plan) => writeln!(to, "aqlprobe guest: {}; injected faults: {plan}", report.bed)?,
    }
    writeln!(to)?;
    writeln!(to, "host   QEMU {}, {}, {} processors", host.qemu, host.accelerator, host.processors)?;
    if let Some(note) = &host.accelerator_note {
        writeln!(to, "       {}", note.replace('\n', "\n       "))?;
    }
    let hops = &host.hops;
    let switch = if hops.switch == Switch::Absent { "no switch".to_owned() } else { format!("a switch ({})", hops.switch) };
    writeln!(to, "       modelled path: root port completes {}, {switch}", hops.root_port_completers)?;
    writeln!(to, "       requester enable: {} from the guest", host.requester_enable)?;
    writeln!(to, "guest  Linux {}, user space after {} ms", guest.release, guest.boot_ms)?;
    for function in &guest.functions {
        let several = if function.multifunction { " multifunction" } else { "" };
        let (cap, ctl) = (function.devcap2, function.devctl2);
        writeln!(to, "       {} {} DevCap2 {cap:08x} DevCtl2 {ctl:04x}{several}", function.bdf, function.id)?;
    }
    for note in &guest.notes {
        writeln!(to, "       {note}")?;
    }
    for step in &guest.steps {
        write_step(step, to)?;
    }
    writeln!(to)?;
    writeln!(to, "{} (exit code {}, {} ms)", report.verdict.sentence, report.verdict.exit_code, report.duration_ms)
}

fn write_step(step: &StepReport, to: &mut impl Write) -> io::Result<()> {
    let status = match step.status {
        Some(status) => format!("exit code {status}"),
        None if step.overran => "ended by its deadline".to_owned(),
        None => "ended by a signal".to_owned(),
    };
    writeln!(to, "\n{}: {status}, {} ms", step.name, step.duration_ms)?;
    if let Some((word, sentence)) = step.verdict() {
        writeln!(to, "  {word}: {sentence}")?;
    }
    let devices = step.report.get("devices").and_then(Value::as_array).into_iter().flatten();
    for device in devices {
        for run in device.get("runs").and_then(Value::as_array).into_iter().flatten() {
            write_run(run, to)?;
        }
        for (label, pointer) in [("cause", "/diagnosis/cause"), ("fix", "/diagnosis/fix"), ("path", "/path/summary")] {
            if let Some(text) = device.pointer(pointer).and_then(Value::as_str) {
                writeln!(to, "  {label}: {}", text.replace('\n', "\n    "))?;
            }
        }
    }
    if let Value::String(text) = &step.report
        && !text.trim().is_empty()
    {
        writeln!(to, "  {}", text.trim_end().replace('\n', "\n  "))?;
    }
    if step.report.is_object() && step.report.get("devices").is_none() {
        writeln!(to, "  {}", step.report)?;
    }
    if step.status != Some(0) && step.report.get("devices").is_none() && !step.stderr.trim().is_empty() {
        writeln!(to, "  {}", step.stderr.trim_end().replace('\n', "\n  "))?;
    }
    Ok(())
}

fn write_run(run: &Value, to: &mut impl Write) -> io::Result<()> {
    let atomics = run.get("atomics").and_then(Value::as_str).unwrap_or("?");
    let mut counts: Vec<(String, usize)> = Vec::new();
    for case in run.get("cases").and_then(Value::as_array).into_iter().flatten() {
        let outcome = case.pointer("/outcome/kind").and_then(Value::as_str).unwrap_or("?").to_owned();
        match counts.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += 1,
            None => counts.push((outcome, 1)),
        }
    }
    let counted: Vec<String> = counts.into_iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    writeln!(to, "  AtomicOps {atomics}: {}", counted.join(", "))?;
    if let Some(Value::Object(fabric)) = run.get("fabric") {
        let counters: Vec<String> =
            fabric.iter().filter(|(_, count)| **count != 0).map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(to, "    endpoint: {}", counters.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::answer::Answer;
    use crate::guest::options::{Accelerator, EndpointCompleter, Hops, RequesterEnable, RootPortCompleters};
    use crate::guest::report::HostView;
    use crate::pci::guest::Functions;

    #[test]
    fn a_report_names_its_bed_and_its_steps_and_ends_with_the_verdict() {
        let host = HostView {
            accelerator: Accelerator::Tcg,
            accelerator_note: None,
            processors: 2,
            qemu: "11".to_owned(),
            kernel: "sid".to_owned(),
            hops: Hops {
                root_port_completers: RootPortCompleters::Bits32And64,
                switch: Switch::Absent,
                endpoint_completer: EndpointCompleter::On,
                functions: Functions::Single,
            },
            requester_enable: RequesterEnable::Writable,
            injected: None,
            endpoint_log: Vec::new(),
            qemu_log: Vec::new(),
        };
        let verify = serde_json::json!({
            "verdict": {"word": "HANG", "sentence": "1 of 1 devices hangs"},
            "devices": [{
                "runs": [{"atomics": "off", "cases": [{"outcome": {"kind": "completion-lost"}}], "fabric": {"performed": 0, "lost": 2}}],
                "diagnosis": {"cause": "the bit is clear"},
            }],
        });
        let answers = vec![Answer::Finished {
            name: "verify".to_owned(),
            status: Some(3),
            overran: false,
            duration_ms: 5,
            stdout: verify,
            stderr: String::new(),
        }];
        let mut text = Vec::new();
        write(&GuestReport::joined(0, 9, host, answers, None), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("aqlprobe guest: ") && text.contains("no hardware was tested"), "{text}");
        let step = "verify: exit code 3, 5 ms\n  HANG: 1 of 1 devices hangs\n  AtomicOps off: 1 completion-lost\n    endpoint: lost 2\n  cause: the bit is clear";
        assert!(text.contains(step), "{text}");
        assert!(text.ends_with("`verify` in the guest: HANG: 1 of 1 devices hangs (exit code 3, 9 ms)\n"), "{text}");
    }
}
