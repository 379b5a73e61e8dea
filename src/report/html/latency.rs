//! What `aqlprobe latency` measured.

use maud::{Markup, html};

use crate::report::latency::{LatencyDevice, LatencyReport, LatencyResult, LatencyRun, LatencySettings, Measurement};
use crate::report::latency_text::atomics_effect;
use crate::report::outcome::Standing;
use crate::report::style::{thousands, time};

use super::environment;
use super::histogram::{Histogram, histogram};
use super::stages::stages;
use super::words::{foreign, standing_mark};

pub(super) fn body(report: &LatencyReport, anchor: &str) -> Markup {
    html! {
        @if let Some(explanation) = &report.no_gpu { p { b { "No GPU can be measured. " } (foreign(explanation)) } }
        p { b { "Measured: " } (foreign(&settings_words(&report.settings))) }
        @for (position, measured) in report.devices.iter().enumerate() { (device(measured, &format!("{anchor}-{position}"))) }
        p.quiet {
            "Clock " (foreign(&report.timer.clock)) ": one reading costs " (time(report.timer.overhead_ns)) ", smallest step "
            (time(report.timer.resolution_ns)) "."
        }
        (environment::runtime(&report.runtime, Some(&report.host)))
    }
}

/// What was asked for, in words.
fn settings_words(settings: &LatencySettings) -> String {
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let mut words = vec![
        word(serde_json::to_value(settings.mode)),
        format!("{} wait", word(serde_json::to_value(settings.wait))),
        format!("fence {}", word(serde_json::to_value(settings.fence))),
        format!("batch {}", settings.batch),
        format!("queues {}", settings.queues),
        format!("producers {}", settings.producers),
    ];
    words.extend(settings.rate_per_second.map(|rate| format!("{rate} per second")));
    words.extend(settings.samples.map(|samples| format!("{} round trips", thousands(samples))));
    words.extend(settings.duration_ms.map(|duration| format!("for {duration} ms")));
    words.push(format!("warm-up {} ms", settings.warmup_ms));
    words.extend(settings.pinned_cpu.map(|cpu| format!("pinned to CPU {cpu}")));
    words.join(", ")
}

fn device(device: &LatencyDevice, anchor: &str) -> Markup {
    html! {
        h2 { "GPU " (device.index) ": " (foreign(&device.name)) ", " (foreign(&device.gfx)) @if let Some(bdf) = &device.bdf { ", " (foreign(bdf)) } }
        (environment::agent(&device.agent, device.doorbell))
        @for (position, run) in device.runs.iter().enumerate() { (measured_run(run, &format!("{anchor}-{position}"))) }
        @if let Some(effect) = &device.atomics_effect { p { (atomics_effect(effect)) } }
    }
}

fn measured_run(run: &LatencyRun, anchor: &str) -> Markup {
    html! {
        h3 { "AtomicOps " (run.atomics) }
        @match &run.result {
            LatencyResult::Measured(measurement) => {
                @if run.standing == Standing::Failed { p.bad { b { "✗ Completed, though lost completions were predicted" } } }
                (numbers(measurement, anchor))
            }
            LatencyResult::Hang { reason } => {
                @let (class, shape, word) = hang_mark(run.standing);
                p { b class=(class) { (shape) " Hang" @if !word.is_empty() { " (" (word) ")" } ": " } (foreign(reason)) }
            }
            LatencyResult::NotMeasured { reason } => { p { b.warn { "○ Not measured: " } (foreign(reason)) } }
        }
    }
}

/// A hang that was predicted is marked as a predicted outcome of verify is; any other is what the verdict calls it.
const fn hang_mark(standing: Standing) -> (&'static str, &'static str, &'static str) {
    match standing {
        Standing::AsPredicted | Standing::Skipped | Standing::Known => standing_mark(standing),
        Standing::Passed | Standing::Failed => ("bad", "■", ""),
    }
}

fn numbers(measurement: &Measurement, anchor: &str) -> Markup {
    let trip = &measurement.round_trip;
    let figures = [
        ("minimum", trip.min_ns as f64),
        ("median", trip.typical_ns as f64),
        ("mean", trip.mean_ns),
        ("99 %", trip.p99_ns as f64),
        ("99.9 %", trip.p999_ns as f64),
        ("maximum", trip.max_ns as f64),
        ("std. deviation", trip.stddev_ns),
    ];
    html! {
        h4 { "Round trip, µs" }
        div.figures { @for (name, value) in figures { div { b { (format!("{:.2}", value / 1e3)) } span { (name) } } } }
        @if !trip.buckets.is_empty() || !measurement.samples_ns.is_empty() {
            (histogram(&Histogram { distribution: trip, samples_ns: &measurement.samples_ns, id: &format!("{anchor}-histogram") }))
        }
        @if !measurement.stages.is_empty() { h4 { "Where the time goes" } (stages(&measurement.stages)) }
        @if let Some(clock) = &measurement.clock {
            p.quiet {
                "Device clock at " (thousands(clock.ticks_per_second)) " ticks per second, laid on the host's from " (clock.points)
                " readings: a device time is off by at most " (time(clock.error_bound_ns)) "."
            }
        }
        @if let Some(flow) = &measurement.throughput {
            p {
                b { "Throughput: " } (thousands(flow.packets_per_second.max(0.0) as u64)) " packets per second ("
                (thousands(flow.packets)) " in " (time(flow.elapsed_ns as f64)) ")"
            }
        }
        @if !measurement.warnings.is_empty() {
            p.warn { b { "▲ What makes these numbers doubtful" } }
            ul.plain { @for warning in &measurement.warnings { li { (foreign(warning)) } } }
        }
    }
}
