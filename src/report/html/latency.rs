//! What `aqlprobe latency` measured.

use maud::{Markup, html};

use crate::report::latency::{LatencyDevice, LatencyReport, LatencyResult, LatencyRun, LatencySettings, Measurement, StageReport};
use crate::report::latency_text::atomics_effect;
use crate::report::style::{thousands, time};

use super::environment;
use super::histogram::histogram;
use super::words::foreign;

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
            LatencyResult::Measured(measurement) => { (numbers(measurement, anchor)) }
            LatencyResult::Hang { reason } => { p.bad { b { "■ Hang: " } (foreign(reason)) } }
            LatencyResult::NotMeasured { reason } => { p.warn { b { "○ Not measured: " } (foreign(reason)) } }
        }
    }
}

fn numbers(measurement: &Measurement, anchor: &str) -> Markup {
    let trip = &measurement.round_trip;
    let figures = [
        ("minimum", time(trip.min_ns as f64)),
        ("median", time(trip.typical_ns as f64)),
        ("mean", time(trip.mean_ns)),
        ("99 %", time(trip.p99_ns as f64)),
        ("99.9 %", time(trip.p999_ns as f64)),
        ("maximum", time(trip.max_ns as f64)),
        ("std. deviation", time(trip.stddev_ns)),
    ];
    html! {
        div.figures { @for (name, value) in figures { div { b { (value) } span { (name) } } } }
        @if !trip.buckets.is_empty() { (histogram(trip, &format!("{anchor}-histogram"))) }
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

/// A bar per stage up to its median, with a line on to its 99th percentile.
fn stages(stages: &[StageReport]) -> Markup {
    let longest = stages.iter().map(|stage| stage.p99_ns.max(stage.median_ns)).fold(1.0_f64, f64::max);
    // A tail that is far longer than every median would leave no bar to see.
    let widest = stages.iter().map(|stage| stage.median_ns).fold(1.0_f64, f64::max);
    let full = longest.min(widest * 2.5);
    let percent = |value: f64| format!("{:.2}", (value / full * 100.0).clamp(0.0, 100.0));
    html! {
        div.stages {
            @for stage in stages {
                div.stage {
                    span.name { (stage.stage) }
                    svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                        line.whisker x1=(percent(stage.median_ns)) x2=(percent(stage.p99_ns)) y1="5" y2="5" {}
                        rect.bar x="0" y="0" width=(percent(stage.median_ns)) height="10" {}
                    }
                    span.value { (time(stage.median_ns)) " " span.quiet { "· 99 % " (time(stage.p99_ns)) } }
                }
            }
        }
        p.quiet { "Bars: median; thin lines: to the 99th percentile, cut at the frame." }
        @if stages.iter().any(|stage| stage.median_ns < 0.0) {
            p.quiet {
                "A stage below zero began before the one above it had ended: a device may take the packet up while the host is still ringing."
            }
        }
    }
}
