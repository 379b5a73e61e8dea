//! Where the time of a mean round trip goes: its stages on one time axis.

use maud::{Markup, html};

use crate::report::latency::StageReport;
use crate::report::style::time;

use super::axis::even_ticks;

/// A stage as it lies on the axis: its mean, from where the stage before it ended.
struct Placed<'a> {
    stage: &'a StageReport,
    start_ns: f64,
    end_ns: f64,
}

/// The means of all stages add up to the mean round trip, so each begins where the one before it ended, and one below zero runs back.
fn placed(stages: &[StageReport]) -> Vec<Placed<'_>> {
    let mut at = 0.0;
    stages
        .iter()
        .map(|stage| {
            let start_ns = at;
            at += stage.mean_ns;
            Placed { stage, start_ns, end_ns: at }
        })
        .collect()
}

pub(super) fn stages(stages: &[StageReport]) -> Markup {
    let placed = placed(stages);
    let ends = || placed.iter().map(|stage| stage.end_ns);
    let (low, high) = (ends().fold(0.0, f64::min), ends().fold(0.0, f64::max));
    let reach = high - low;
    let share = |ns: f64| if reach > 0.0 && reach.is_finite() { ((ns - low) / reach * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    let ticks = even_ticks(low, high, 5);
    html! {
        div.stages {
            @for Placed { stage, start_ns, end_ns } in &placed {
                @let runs_back = end_ns < start_ns;
                @let (left, right) = (share(start_ns.min(*end_ns)), share(start_ns.max(*end_ns)));
                div.stage {
                    span.name { (stage.stage) }
                    svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                        @for (tick, _) in &ticks { line.grid x1=(percent(share(*tick))) x2=(percent(share(*tick))) y1="0" y2="10" {} }
                        @let width = (right - left).max(0.5);
                        rect class=(if runs_back { "bar back" } else { "bar" }) x=(percent(left.min(100.0 - width))) width=(percent(width)) y="1" height="8" {}
                    }
                    b.value { @if runs_back { "← " } (time(stage.mean_ns)) }
                    span.more { "median " (time(stage.median_ns)) " · 99 % " (time(stage.p99_ns)) }
                }
            }
            div.stage-scale {
                div.ticks { @for (tick, label) in &ticks { span style={ "left:" (percent(share(*tick))) "%" } { (label) } } }
                span.name { "mean round trip, µs" }
            }
        }
        p.quiet { "Bars: the mean of each stage, from where the one before it ended. They add up to the mean round trip." }
        @if placed.iter().any(|stage| stage.end_ns < stage.start_ns) {
            p.quiet {
                "Outlined, with ←: the stage runs back, as it ended before the one above it had. A device may take the packet up while the host is \
                 still ringing."
            }
        }
    }
}

fn percent(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::latency::Stage;

    fn stage(stage: Stage, mean_ns: f64) -> StageReport {
        StageReport { stage, median_ns: mean_ns, p99_ns: mean_ns, mean_ns, samples_ns: Vec::new() }
    }

    /// Ten forward, four back, six forward: a round trip of twelve.
    #[test]
    fn a_negative_stage_runs_back_from_where_the_one_before_it_ended() {
        let html =
            stages(&[stage(Stage::Doorbell, 10.0), stage(Stage::DeviceStart, -4.0), stage(Stage::HostSees, 6.0)]).into_string();
        let bars: Vec<&str> = html.split("<rect").skip(1).map(|rect| rect.split("y=").next().unwrap().trim()).collect();
        assert_eq!(
            bars,
            [
                "class=\"bar\" x=\"0.00\" width=\"83.33\"",
                "class=\"bar back\" x=\"50.00\" width=\"33.33\"",
                "class=\"bar\" x=\"50.00\" width=\"50.00\""
            ]
        );
        assert!(html.contains("← -4 ns") && html.contains("mean round trip, µs"));
    }

    #[test]
    fn an_axis_that_begins_below_zero_holds_every_stage() {
        let html = stages(&[stage(Stage::DeviceStart, -50.0), stage(Stage::HostSees, 150.0)]).into_string();
        assert!(html.contains("class=\"bar back\" x=\"0.00\" width=\"33.33\""));
        assert!(html.contains("class=\"bar\" x=\"0.00\" width=\"100.00\""));
    }

    #[test]
    fn stages_of_no_length_or_of_any_length_are_drawn_with_numbers() {
        for mean in [0.0, f64::MAX, f64::MIN] {
            let html = stages(&[stage(Stage::Write, mean), stage(Stage::Wait, mean)]).into_string();
            assert!(!html.contains("NaN"), "{mean}: {html}");
        }
    }
}
