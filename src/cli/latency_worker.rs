//! `aqlprobe latency-worker`: the process that measures. Started by `latency`, not by people.

use aqlprobe::latency;

/// Measure what a plan says and stream events on stdout
#[derive(clap::Args)]
pub struct Arguments {
    /// The supervisor's plan
    #[arg(long, value_name = "JSON")]
    plan: String,
}

/// Runs the plan; the status is the worker's.
pub fn run(arguments: &Arguments) -> u8 {
    latency::worker_main(&arguments.plan)
}
