//! The command line: parsing, printing and exit codes only, one file per subcommand.

mod atomics;
mod compare;
mod endpoint;
mod failure;
mod guest;
mod latency;
mod latency_worker;
mod live;
mod merge;
mod outcome_policy;
mod output;
mod outputs;
mod path;
mod place;
mod progress;
mod report;
mod run;
mod verify;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Printed below every `--help` that can end with one of them.
const EXIT_CODES: &str = "\
Exit codes:
  0  every check passed
  1  a check failed, or nothing could be checked
  2  the command line or an input is wrong, or nothing is selected
  3  a signal never fired: a program that waits for it hangs
  4  no hardware was tested (see --require-device and --skip-code)
  5  everything passed, but something is worse than it should be (with --strict)";

/// Does AQL dispatch complete on this AMD GPU, and if not, exactly why?
#[derive(Parser)]
#[command(name = "aqlprobe", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(Box<verify::Arguments>),
    Latency(Box<latency::Arguments>),
    Path(path::Arguments),
    Atomics(atomics::Arguments),
    Endpoint(endpoint::Arguments),
    Run(run::Arguments),
    Guest(Box<guest::Arguments>),
    Compare(compare::Arguments),
    Merge(merge::Arguments),
    Report(report::Arguments),
    #[command(hide = true)]
    GuestInit,
    #[command(hide = true)]
    GuestFuzz(guest::FuzzArguments),
    #[command(hide = true)]
    Worker(worker::Arguments),
    #[command(hide = true)]
    LatencyWorker(latency_worker::Arguments),
}

/// Makes of a file that grows beyond the user's limit (`ulimit -f`) an error that can be told, where Linux would end the process.
fn survive_file_size_limit() {
    // Without the handler the limit works as it does by default. That it came is known by the write that fails.
    let _ = signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// Parses, runs, prints, and says how the process ends.
pub fn main() -> ExitCode {
    survive_file_size_limit();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A reader that has gone away (`--help | head`) is no reason to fail.
            let _ = error.print();
            let words: Vec<_> = std::env::args_os().skip(1).collect();
            return outcome_policy::usage_status(words.iter().map(AsRef::as_ref), error.exit_code()).into();
        }
    };
    let status = match arguments.command {
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Latency(arguments) => latency::run(&arguments),
        Command::Path(arguments) => path::run(&arguments),
        Command::Atomics(arguments) => atomics::run(&arguments),
        Command::Endpoint(arguments) => endpoint::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Guest(arguments) => guest::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::GuestInit => guest::init(),
        Command::GuestFuzz(arguments) => guest::fuzz(&arguments),
        Command::Worker(arguments) => Ok(worker::run(&arguments)),
        Command::LatencyWorker(arguments) => Ok(latency_worker::run(&arguments)),
    };
    ExitCode::from(status.unwrap_or_else(|failure: Failure| failure.report()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
