//! A latency report for people. The first line names the bed; the last is the verdict. Nothing is decided here.

use std::io;

use super::latency::{
    AtomicsEffect, Bucket, Distribution, LatencyDevice, LatencyReport, LatencyResult, LatencySettings, Measurement, Stage,
};
use super::run::ExitCode;
use super::runtime_text::write_runtime;
use super::style::{TextStyle, Tone, tame, thousands};
use super::table::{columns, write_indented};
use super::text::bed_line;

/// Writes the whole report.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &LatencyReport, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let injected = report.settings.injected.as_ref().map(|plan| format!("; injected faults: {}", tame(plan))).unwrap_or_default();
    writeln!(out, "{}", style.dress(Tone::Strong, format!("{}{injected}", bed_line(&report.bed))))?;
    if let Some(explanation) = &report.no_gpu {
        writeln!(out, "No GPU can be measured: {}", tame(explanation))?;
    }
    write_runtime(&report.runtime, out)?;
    writeln!(out, "Measured: {}", settings(&report.settings))?;
    let timer = &report.timer;
    let each = if report.settings.queues > report.settings.producers { " for each queue of its producer" } else { "" };
    writeln!(
        out,
        "Host clock: {}, {:.1} ns per reading (every stage contains one{each}), resolution {:.1} ns",
        tame(&timer.clock),
        timer.overhead_ns,
        timer.resolution_ns
    )?;
    for device in &report.devices {
        writeln!(out)?;
        write_device(device, style, out)?;
    }
    writeln!(out)?;
    writeln!(out, "{}", verdict_line(report, style))
}

/// The verdict in one line, without colour.
#[must_use]
pub fn verdict(report: &LatencyReport) -> String {
    verdict_line(report, TextStyle::PLAIN)
}

fn verdict_line(report: &LatencyReport, style: TextStyle) -> String {
    let tone = match report.verdict.exit_code {
        ExitCode::Pass => Tone::Good,
        ExitCode::NoHardware | ExitCode::Degraded => Tone::Expected,
        ExitCode::CheckFailed | ExitCode::Usage | ExitCode::Hang => Tone::Bad,
    };
    format!("{}: {}", style.dress(tone, report.verdict.word), tame(&report.verdict.sentence))
}

fn settings(settings: &LatencySettings) -> String {
    let mut words = vec![
        format!("{} mode", settings.mode.name()),
        format!("{} wait", settings.wait.name()),
        format!("fences {}", settings.fence.name()),
        format!("batch {}", settings.batch),
        counted(settings.queues.into(), "queue"),
        counted(settings.producers.into(), "producer"),
    ];
    words.extend(settings.rate_per_second.map(|rate| format!("{rate} per second, counted from when each was due")));
    words.extend(settings.pinned_cpu.map(|cpu| format!("on processor {cpu}")));
    words.push(format!("warm-up {} ms", settings.warmup_ms));
    words.join(", ")
}

/// `1 packet`, `2,000 packets`.
fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(count), if count == 1 { "" } else { "s" })
}

fn write_device(device: &LatencyDevice, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let place = device.bdf.as_ref().map(|bdf| format!(", {}", tame(bdf))).unwrap_or_default();
    let heading = format!("GPU {}: {}, {}{place}", device.index, tame(&device.name), tame(&device.gfx));
    writeln!(out, "{}", style.dress(Tone::Strong, heading))?;
    for run in &device.runs {
        match &run.result {
            LatencyResult::Measured(measurement) => {
                writeln!(out, "AtomicOps {}:", run.atomics)?;
                write_measurement(measurement, style, out)?;
            }
            LatencyResult::Hang { reason } => {
                writeln!(out, "AtomicOps {}: a round trip never ended: {}", run.atomics, tame(reason))?;
            }
            LatencyResult::NotMeasured { reason } => {
                writeln!(out, "AtomicOps {}: nothing could be measured: {}", run.atomics, tame(reason))?;
            }
        }
    }
    device.atomics_effect.iter().try_for_each(|effect| writeln!(out, "{}", atomics_effect(effect)))
}

/// What AtomicOps change, in a sentence.
pub(super) fn atomics_effect(effect: &AtomicsEffect) -> String {
    let micro = |nanoseconds: f64| nanoseconds / 1e3;
    let interval = match &effect.interval {
        Some(interval) => format!(
            "{:.0} % interval {:+.3} to {:+.3} us",
            interval.confidence * 100.0,
            micro(interval.low_ns),
            micro(interval.high_ns)
        ),
        None => "too few round trips for an interval".to_owned(),
    };
    format!(
        "AtomicOps on against off: median {:.3} us against {:.3} us: difference {:+.3} us ({interval})",
        micro(effect.on_median_ns as f64),
        micro(effect.off_median_ns as f64),
        micro(effect.difference_ns)
    )
}

fn write_measurement(measurement: &Measurement, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let trip = &measurement.round_trip;
    let mut table = columns(style);
    table.set_header(["us", "min", "typical", "mean", "99 %", "99.9 %", "max", "deviation", "samples"]);
    let micro = |nanoseconds: f64| format!("{:.3}", nanoseconds / 1e3);
    let whole = |nanoseconds: u64| micro(nanoseconds as f64);
    table.add_row([
        "round trip".to_owned(),
        whole(trip.min_ns),
        whole(trip.typical_ns),
        micro(trip.mean_ns),
        whole(trip.p99_ns),
        whole(trip.p999_ns),
        whole(trip.max_ns),
        micro(trip.stddev_ns),
        thousands(trip.count),
    ]);
    table.load_style(comfy_table::presets::NOTHING);
    write_indented(table, out)?;
    if !measurement.stages.is_empty() {
        let mut table = columns(style);
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["stage, us", "median", "99 %", "mean"]);
        for stage in &measurement.stages {
            table.add_row([stage.stage.to_string(), micro(stage.median_ns), micro(stage.p99_ns), micro(stage.mean_ns)]);
        }
        write_indented(table, out)?;
    }
    if measurement.stages.iter().any(|stage| stage.stage == Stage::DeviceStart && stage.median_ns < 0.0) {
        writeln!(out, "  device start is negative: the device saw the packet and started before the doorbell call had returned")?;
    }
    if let Some(clock) = &measurement.clock {
        writeln!(
            out,
            "  device times are good to {:.0} ns (from {} readings of both clocks; drift {:.0} ppb)",
            clock.error_bound_ns, clock.points, clock.drift_ppb
        )?;
    }
    if let Some(flow) = &measurement.throughput {
        writeln!(out, "  {}, {:.0} per second", counted(flow.packets, "packet"), flow.packets_per_second)?;
    }
    write_histogram(trip, out)?;
    for warning in &measurement.warnings {
        writeln!(out, "  {} {}", style.dress(Tone::Expected, "warning:"), tame(warning))?;
    }
    Ok(())
}

/// One line per power of two, so that a long tail stays short.
fn write_histogram(trip: &Distribution, out: &mut impl io::Write) -> io::Result<()> {
    const WIDEST: u64 = 40;
    let octaves = octaves(&trip.buckets);
    let most = octaves.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (from_ns, count) in octaves {
        let length = (count * WIDEST).div_ceil(most);
        writeln!(out, "  {:>12.3} us  {:<40}  {}", from_ns as f64 / 1e3, "#".repeat(length as usize), thousands(count))?;
    }
    Ok(())
}

fn octaves(buckets: &[Bucket]) -> Vec<(u64, u64)> {
    let mut octaves: Vec<(u64, u64)> = Vec::new();
    for bucket in buckets {
        let from = 1_u64 << bucket.from_ns.max(1).ilog2();
        match octaves.last_mut().filter(|(last, _)| *last == from) {
            Some((_, count)) => *count += bucket.count,
            None => octaves.push((from, bucket.count)),
        }
    }
    octaves
}

#[cfg(test)]
mod tests {
    use super::super::latency::IntervalReport;
    use super::*;

    #[test]
    fn what_atomicops_change_is_a_difference_with_its_sign_and_interval() {
        let interval = IntervalReport { low_ns: -40.0, high_ns: 260.0, confidence: 0.95 };
        let effect = AtomicsEffect { off_median_ns: 5_000, on_median_ns: 5_120, difference_ns: 120.0, interval: Some(interval) };
        let sentence =
            "AtomicOps on against off: median 5.120 us against 5.000 us: difference +0.120 us (95 % interval -0.040 to +0.260 us)";
        assert_eq!(atomics_effect(&effect), sentence);
    }

    #[test]
    fn one_of_a_thing_has_no_plural() {
        assert_eq!([counted(1, "packet"), counted(2_000, "packet")], ["1 packet", "2,000 packets"]);
    }

    #[test]
    fn buckets_of_one_power_of_two_share_a_line_and_none_is_lost() {
        let bucket = |from_ns, count| Bucket { from_ns, to_ns: from_ns, count };
        assert_eq!(octaves(&[bucket(0, 1), bucket(1024, 2), bucket(1500, 3), bucket(4096, 4)]), [(1, 1), (1024, 5), (4096, 4)]);
    }
}
