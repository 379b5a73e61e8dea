//! Where device work is done: the options that `verify` and `latency` share.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::anyhow;
use aqlprobe::faults::{self, FaultPlan};
use aqlprobe::hsa::{RuntimeChoice, UnknownRuntime};
use aqlprobe::report::ExitCode;
use aqlprobe::rocr::ModelTarget;
use aqlprobe::verify::{
    AtomicsSelection, DeviceSelector, Milliseconds, PlaceRequest, RequestedRuntime, RocrModelRequest, VerifyError,
};
use clap::{ValueEnum, builder::RangedU64ValueParser};

use super::failure::Failure;
use super::run::Target;

/// Runtime, device, states of AtomicOps, and what becomes of a run without hardware.
#[derive(clap::Args)]
pub struct PlaceArguments {
    /// HSA runtime: the system's, the one inside this program (a software GPU), AMD's own on the software GPU, ours over vfio-pci on the
    /// software PCIe endpoint of this guest, or a library by path [possible values: auto, system, embedded, rocr-model, guest, PATH]
    #[arg(long, value_name = "RUNTIME", default_value = "auto")]
    runtime: Runtime,

    /// With rocr-model: the runtime library [default: the sysroot's, or else the system's]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,

    /// With rocr-model: directory with a ROCr and a C library of its own (from `dpkg -x`), in which the worker is started
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,

    /// With rocr-model: what the software GPU is [default: gfx942]
    #[arg(long, value_enum)]
    target: Option<Target>,

    /// GPU by PCI address (0b:00.0), by position among the runtime's GPUs (0), or `all` [default: the first]
    #[arg(long, value_name = "BDF|INDEX|all")]
    device: Option<DeviceSelector>,

    /// States of AtomicOp Requester Enable to run in [default: both on the software GPU, as-found on hardware and with
    /// --replay]
    #[arg(long, value_name = "STATE", value_enum)]
    atomics: Option<Atomics>,

    /// How long a completion may take, in milliseconds, from 10 to 600000 [default: 5000]
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = RangedU64ValueParser::<u64>::new().range(10..=600_000))]
    timeout: Option<u64>,

    /// Give the embedded GPU the config space of this `lspci -xxx` or `-xxxx` text
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,

    /// Read PCI devices from this directory instead of the bed's own
    #[arg(long, value_name = "DIR", hide = true)]
    sysfs_root: Option<PathBuf>,

    /// Let the software GPU, its path or the worker go wrong as this fault plan or file says; `help` lists the faults
    #[arg(long, value_name = "SPEC|FILE")]
    inject: Option<String>,

    /// Exit with 1 instead of 4 when no hardware was tested
    #[arg(long, conflicts_with = "skip_code")]
    require_device: bool,

    /// Exit with N instead of 4 when no hardware was tested (77 for autotools and ctest)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    skip_code: Option<u8>,
}

/// The value of `--runtime`.
#[derive(Clone, Debug)]
pub enum Runtime {
    Choice(RuntimeChoice),
    RocrModel,
    Guest,
}

impl FromStr for Runtime {
    type Err = UnknownRuntime;

    fn from_str(text: &str) -> Result<Self, UnknownRuntime> {
        match text {
            "rocr-model" => Ok(Self::RocrModel),
            "guest" => Ok(Self::Guest),
            other => other.parse().map(Self::Choice),
        }
    }
}

/// The value of `--atomics`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Atomics {
    /// Leave the bit alone
    AsFound,
    /// Set it, and put it back
    On,
    /// Clear it, and put it back; whatever else uses the GPU has no AtomicOps meanwhile
    Off,
    /// First cleared, then set, then put back
    Both,
}

impl From<Atomics> for AtomicsSelection {
    fn from(atomics: Atomics) -> Self {
        match atomics {
            Atomics::AsFound => Self::AsFound,
            Atomics::On => Self::On,
            Atomics::Off => Self::Off,
            Atomics::Both => Self::Both,
        }
    }
}

/// What becomes of exit code 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutHardware {
    /// It stays what it is.
    Distinct,
    /// It fails.
    Fails,
    /// It becomes this status.
    Skips(u8),
}

impl WithoutHardware {
    /// How the process ends after a report that ends with `code`.
    ///
    /// # Errors
    /// No hardware was tested, and hardware was required.
    pub fn conclude(self, code: ExitCode) -> Result<u8, Failure> {
        if code == ExitCode::NoHardware && self == Self::Fails {
            let error = anyhow!("no GPU was tested, and --require-device asks for one");
            return Err(Failure::new(error, ExitCode::CheckFailed).hint("the report's first line says why no GPU could be used"));
        }
        Ok(self.status(code))
    }

    /// How the process ends where no report could be made.
    pub fn failure(self, error: VerifyError) -> Failure {
        let code = error.exit_code();
        let hint = hint(&error);
        let failure = Failure::new(error, code).status(self.status(code));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    const fn status(self, code: ExitCode) -> u8 {
        match (code, self) {
            (ExitCode::NoHardware, Self::Fails) => ExitCode::CheckFailed.status(),
            (ExitCode::NoHardware, Self::Skips(status)) => status,
            _ => code.status(),
        }
    }
}

impl PlaceArguments {
    /// The runtime with what belongs to it.
    fn runtime(&self) -> Result<RequestedRuntime, Failure> {
        match &self.runtime {
            Runtime::RocrModel => Ok(RequestedRuntime::RocrModel(RocrModelRequest {
                library: self.library.clone(),
                sysroot: self.sysroot.clone(),
                target: self.target.map(ModelTarget::from).unwrap_or_default(),
            })),
            Runtime::Choice(_) | Runtime::Guest => {
                let requested = match &self.runtime {
                    Runtime::Choice(choice) => RequestedRuntime::Choice(choice.clone()),
                    Runtime::RocrModel | Runtime::Guest => RequestedRuntime::Guest,
                };
                let given = [
                    ("--library", self.library.is_some()),
                    ("--sysroot", self.sysroot.is_some()),
                    ("--target", self.target.is_some()),
                ];
                match given.into_iter().find(|(_, given)| *given) {
                    None => Ok(requested),
                    Some((option, _)) => {
                        let error = anyhow!("{option} belongs to `--runtime rocr-model`, and the runtime is {requested}");
                        Err(Failure::new(error, ExitCode::Usage).hint("add `--runtime rocr-model`, or leave the option out"))
                    }
                }
            }
        }
    }

    /// The list of faults, if that is what is asked for.
    pub fn help(&self) -> Option<String> {
        (self.inject.as_deref() == Some("help")).then(faults::list)
    }

    fn faults(&self) -> Result<Option<FaultPlan>, Failure> {
        let plan = self.inject.as_deref().map(FaultPlan::from_argument).transpose();
        plan.map_err(|error| Failure::new(error, ExitCode::Usage).hint("`--inject help` lists the faults"))
    }

    /// The request that they make.
    ///
    /// # Errors
    /// Options that do not go together.
    pub fn request(&self) -> Result<PlaceRequest, Failure> {
        Ok(PlaceRequest {
            runtime: self.runtime()?,
            device: self.device.unwrap_or_default(),
            atomics: self.atomics.map(AtomicsSelection::from),
            timeout: self.timeout.map(Milliseconds),
            replay: self.replay.clone(),
            sysfs_root: self.sysfs_root.clone(),
            faults: self.faults()?,
        })
    }

    /// What becomes of exit code 4.
    pub const fn without_hardware(&self) -> WithoutHardware {
        match (self.require_device, self.skip_code) {
            (true, _) => WithoutHardware::Fails,
            (false, Some(status)) => WithoutHardware::Skips(status),
            (false, None) => WithoutHardware::Distinct,
        }
    }
}

fn hint(error: &VerifyError) -> Option<&'static str> {
    match error {
        VerifyError::Replay { .. } => Some("give the whole output of `lspci -s BDF -xxx`, taken as root"),
        VerifyError::Runtime(_) | VerifyError::NoGpu(_) => {
            Some("`--runtime embedded` needs no GPU and no ROCm; it tests the harness, not hardware")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exit_code_for_no_hardware_can_be_replaced() {
        let policies = [WithoutHardware::Distinct, WithoutHardware::Fails, WithoutHardware::Skips(77)];
        let statuses = |code| policies.map(|policy| policy.status(code));
        assert_eq!(statuses(ExitCode::NoHardware), [4, 1, 77]);
        for code in [ExitCode::Pass, ExitCode::CheckFailed, ExitCode::Usage, ExitCode::Hang] {
            assert_eq!(statuses(code), [code.status(); 3]);
        }
    }
}
