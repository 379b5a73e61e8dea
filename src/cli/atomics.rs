//! `aqlprobe atomics`: the AtomicOp Requester Enable bit by itself.

use std::path::PathBuf;

use aqlprobe::report::ExitCode;
use aqlprobe::verify;
use clap::Subcommand;

use super::failure::Failure;
use super::output;

/// Repair AtomicOp Requester Enable
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put back what a killed `aqlprobe verify` left changed
    ///
    /// `verify` keeps the original bit in a journal while a run has it changed. It restores the bit itself on every way out
    /// but SIGKILL and power loss; this command is for those.
    Restore {
        /// Restore from this journal instead of every journal in the default place
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// A journal that cannot be read, or a bit that cannot be put back.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let Command::Restore { journal } = &arguments.command;
    let restored = verify::restore_atomics(journal.as_deref()).map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    let mut text = String::new();
    for device in &restored {
        let (bit, journal) = (u8::from(device.enabled), device.journal.display());
        text.push_str(&format!("{}: AtomicOp Requester Enable is {bit} again; removed {journal}\n", device.device));
    }
    if restored.is_empty() {
        text.push_str("nothing to restore: no journal was left behind\n");
    }
    output::print(text.as_bytes())?;
    Ok(ExitCode::Pass.status())
}
