//! `aqlprobe worker`: the process that touches the device. Started by `verify`, not by people.

use aqlprobe::verify;

/// Run the cases of a plan and stream events on stdout
#[derive(clap::Args)]
pub struct Arguments {
    /// The supervisor's plan
    #[arg(long, value_name = "JSON")]
    plan: String,
}

/// Runs the plan; the status is the worker's.
pub fn run(arguments: &Arguments) -> u8 {
    verify::worker_main(&arguments.plan)
}
