//! The command line: parsing, printing and exit codes only, one file per subcommand.

mod atomics;
mod endpoint;
mod failure;
mod guest;
mod output;
mod path;
mod place;
mod progress;
mod run;
mod verify;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Printed below every `--help` that can end with one of them.
const EXIT_CODES: &str = "\
Exit codes:
  0  every check passed
  1  a check failed, or nothing could be checked
  2  the command line or an input is wrong, or nothing is selected
  3  a signal never fired: a program that waits for it hangs
  4  no hardware was tested (see --require-device and --skip-code)";

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
    Path(path::Arguments),
    Atomics(atomics::Arguments),
    Endpoint(endpoint::Arguments),
    Run(run::Arguments),
    Guest(Box<guest::Arguments>),
    #[command(hide = true)]
    GuestInit,
    #[command(hide = true)]
    GuestFuzz(guest::FuzzArguments),
    #[command(hide = true)]
    Worker(worker::Arguments),
}

/// Parses, runs, prints, and says how the process ends.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A reader that has gone away (`--help | head`) is no reason to fail.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let status = match arguments.command {
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Path(arguments) => path::run(&arguments),
        Command::Atomics(arguments) => atomics::run(&arguments),
        Command::Endpoint(arguments) => endpoint::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Guest(arguments) => guest::run(&arguments),
        Command::GuestInit => guest::init(),
        Command::GuestFuzz(arguments) => guest::fuzz(&arguments),
        Command::Worker(arguments) => Ok(worker::run(&arguments)),
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
