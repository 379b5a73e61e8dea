//! `aqlprobe run`: somebody else's HSA program on the software GPU.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use aqlprobe::report::{ExitCode, FabricCounters};
use aqlprobe::rocr::{self, ModelTarget, Opened, ProgramError, ProgramRun, Ran, RequesterAtStart, Surroundings};
use clap::ValueEnum;

use super::failure::Failure;

const NOTES: &str = "\
Examples:
  aqlprobe run -- ./my_hsa_program --its-option
      with this system's ROCr, which must be of ROCm 7 or later
  aqlprobe run --sysroot target/rocr/sysroot -- rocminfo
      with a newer ROCr and C library than the system's
  aqlprobe run --target gfx1100 --keep machine -- ./my_hsa_program
      on a wave32 GPU; its config space, topology and counters stay in machine/

The program sees the variables HSA_MODEL_TOPOLOGY, HSA_MODEL_LIB and AQLPROBE_MODEL_SYSFS, and HSA_ENABLE_INTERRUPT=0 unless it
is set. What goes wrong on the GPU is said on stderr in lines that start with `aqlprobe model:`.

Exit codes:
  that of the program, or 128 and the number of the signal that ended it
  2  the program could not be started";

/// Run an HSA program on the software GPU, with AMD's own runtime
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    /// Directory with a ROCr and a C library of its own (from `dpkg -x`); the program is started through its loader
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,

    /// What the GPU is
    #[arg(long, value_enum, default_value = "gfx942")]
    target: Target,

    /// AtomicOp Requester Enable of the GPU; ROCr itself waits for ever when it loads code without AtomicOps
    #[arg(long, value_enum, default_value = "on")]
    atomics: Atomics,

    /// Leave the modelled machine's files in this directory, which must be empty or new
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM ARGS")]
    program: Vec<OsString>,
}

/// The GPUs that AMD's runtime accepts in model mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Instinct MI300X, wavefronts of 64
    Gfx942,
    /// Radeon RX 7900 XTX, wavefronts of 32
    Gfx1100,
}

impl From<Target> for ModelTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::Gfx942 => Self::Gfx942,
            Target::Gfx1100 => Self::Gfx1100,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Atomics {
    /// Set
    On,
    /// Clear
    Off,
}

/// Runs the program; the status is the program's.
///
/// # Errors
/// It could not be started.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let unusable = |error: ProgramError| Failure::new(error, ExitCode::Usage);
    let surroundings = Surroundings::open(arguments.sysroot.as_deref()).map_err(|error| unusable(error.into()))?;
    let (program, rest) =
        arguments.program.split_first().map(|(program, rest)| (program.clone(), rest.to_vec())).unwrap_or_default();
    let requester = match arguments.atomics {
        Atomics::On => RequesterAtStart::Enabled,
        Atomics::Off => RequesterAtStart::AsFound,
    };
    let request = ProgramRun {
        surroundings,
        target: arguments.target.into(),
        requester,
        keep: arguments.keep.clone(),
        program,
        arguments: rest,
    };
    let ran = rocr::run(&request).map_err(unusable)?;
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(io::stderr(), "aqlprobe: {}", summary(&ran));
    Ok(ran.status)
}

/// What the modelled path did, in one line.
fn summary(ran: &Ran) -> String {
    let mut summary = match &ran.atomics {
        Some(counters) => format!("the software GPU's AtomicOps to host memory: {}", FabricCounters::from_counts(*counters)),
        None => "the software GPU's counters cannot be read".to_owned(),
    };
    match ran.opened {
        Opened::Yes => {}
        Opened::Never => summary.push_str(
            "; nothing read its topology, so the program did not open ROCr in model mode (does it use HSA, and a ROCr of ROCm 7 or later?)",
        ),
        Opened::Unknown => summary.push_str("; whether the program opened ROCr in model mode cannot be told here"),
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_never_opened_the_model_is_told_apart_from_one_that_sent_no_atomics() {
        let ran = Ran { status: 0, atomics: Some([0; 7]), opened: Opened::Never };
        assert!(summary(&ran).contains("did not open ROCr in model mode"));
        assert!(!summary(&Ran { opened: Opened::Yes, ..ran }).contains("did not open"));
        let dropped = Ran { atomics: Some([5, 2, 0, 0, 0, 0, 0]), opened: Opened::Yes, ..ran };
        assert_eq!(summary(&dropped), "the software GPU's AtomicOps to host memory: 5 performed, 2 dropped (2 requester disabled)");
    }
}
