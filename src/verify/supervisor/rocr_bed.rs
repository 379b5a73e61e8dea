//! The bed in which AMD's unmodified runtime drives the software GPU, and what that runtime cannot do in model mode.

use std::ffi::OsString;

use crate::faults::BlockedHop;
use crate::hsa::INTERRUPT_VARIABLE;
use crate::pci::sysfs::SysfsRoot;
use crate::report::{BedKind, BedReport, Outcome, Prediction};
use crate::rocr::{LibraryError, ModelMachine, RequesterAtStart, RuntimeLibrary, Surroundings, model_library};
use crate::verify::diagnose::COMPLETION_LOST;
use crate::verify::error::VerifyError;
use crate::verify::event::PlannedRuntime;
use crate::verify::request::RocrModelRequest;

use super::bed::{ReadyBed, Rules, temporary_directory};
use super::process::Launcher;

/// How a case is run in this bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Like everywhere.
    Plain,
    /// In a worker whose runtime waits by interrupts.
    WithInterrupts,
    /// Not at all, for this reason.
    Untestable(&'static str),
}

/// What ROCr's model mode cannot carry (ROCr 7.2, `hsakmtmodel.c`).
#[must_use]
pub fn treatment(case: &str) -> Treatment {
    match case {
        "invalid-packet" => Treatment::Untestable(
            "ROCr stops a queue that reports an error by a call that its model mode does not have (UPDATE_QUEUE), and aborts the \
             process",
        ),
        "wait-blocked" => Treatment::WithInterrupts,
        _ => Treatment::Plain,
    }
}

/// Why an outcome says nothing of the device, where it is a known defect of ROCr's model mode.
#[must_use]
pub fn known(case: &str, outcome: &Outcome) -> Option<&'static str> {
    match (treatment(case), outcome) {
        (Treatment::WithInterrupts, Outcome::WakeLost) => Some(
            "ROCr's known stall: in model mode its event call changes the value and wakes the waiters without holding their lock, so \
             a wait that has just begun sleeps on; the value had arrived, and polling (HSA_ENABLE_INTERRUPT=0) is not affected",
        ),
        _ => None,
    }
}

/// Whether a line of stderr is ROCr's own abort in the teardown of events, which comes and goes whatever the device does.
#[must_use]
pub fn is_event_abort(line: &str) -> bool {
    let Some((_, rest)) = line.split_once("model_set_event: event_id = ") else { return false };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && rest[digits..].trim_end() == " is not allocated"
}

/// What the software GPU does without AtomicOps; `of_hardware` is what is known of the GPU that it models.
#[must_use]
pub fn prediction(of_hardware: &Prediction) -> Prediction {
    Prediction {
        without_atomics: COMPLETION_LOST.to_owned(),
        reason: format!(
            "the software GPU decrements completion signals with PCIe AtomicOps whatever its target, so without them its kernels run \
             and their signals never fire. Of the hardware that it stands for: {}",
            of_hardware.reason
        ),
    }
}

/// Lays the bed out: the machine, the libraries and the way to start workers.
///
/// # Errors
/// ROCr or its sysroot is not there, has no model mode, or the machine cannot be written.
pub fn prepare(request: &RocrModelRequest, blocked: Option<BlockedHop>) -> Result<ReadyBed, VerifyError> {
    let unusable = |error: &dyn std::error::Error| VerifyError::RocrModel(error.to_string());
    let surroundings = Surroundings::open(request.sysroot.as_deref()).map_err(|error| unusable(&error))?;
    let library = RuntimeLibrary::find(&surroundings, request.library.as_deref()).map_err(|error| unusable(&error))?;
    let model = model_library().map_err(|error: LibraryError| unusable(&error))?;
    let tree = temporary_directory()?;
    let machine = ModelMachine::prepare_blocked(tree.path(), request.target, RequesterAtStart::AsFound, blocked)
        .map_err(|error| VerifyError::Bed(error.to_string()))?;
    let mut environment = machine.environment(&model);
    // Whoever sets it has the last word; the report records it.
    if std::env::var_os(INTERRUPT_VARIABLE).is_none() {
        environment.push((INTERRUPT_VARIABLE.to_owned(), OsString::from("0")));
    }
    Ok(ReadyBed {
        report: BedReport {
            kind: BedKind::RocrModel,
            runtime: library.path.display().to_string(),
            rocr: library.version,
            reason: None,
            replay: None,
        },
        runtime: PlannedRuntime::RocrModel(library.path),
        sysfs: SysfsRoot::new(machine.sysfs_root),
        launcher: Launcher { surroundings, environment, faults: None },
        rules: Rules::RocrModel,
        counters: None,
        _lease: None,
        _tree: Some(tree),
    })
}

/// The same launcher for workers that wait by interrupts, unless the user has decided that.
#[must_use]
pub fn with_interrupts(launcher: &Launcher) -> Launcher {
    let mut launcher = launcher.clone();
    for (name, value) in &mut launcher.environment {
        if name == INTERRUPT_VARIABLE {
            *value = OsString::from("1");
        }
    }
    launcher
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::catalogue::catalogue;

    #[test]
    fn only_the_exact_message_is_rocrs_event_abort() {
        assert!(is_event_abort("model_set_event: event_id = 6 is not allocated"));
        assert!(is_event_abort("rocr: model_set_event: event_id = 4095 is not allocated\n"));
        for other in [
            "model_set_event: event_id = x is not allocated",
            "model_set_event: event_id =  is not allocated",
            "model_set_event: event_id = 6 is allocated",
            "model_set_event: event_id = 6 is not allocated, really",
            "event_id = 6 is not allocated",
            "",
        ] {
            assert!(!is_event_abort(other), "{other}");
        }
    }

    #[test]
    fn the_table_names_cases_that_exist_and_leaves_all_others_alone() {
        let special: Vec<&str> =
            catalogue().iter().map(|case| case.name).filter(|name| treatment(name) != Treatment::Plain).collect();
        assert_eq!(special, ["invalid-packet", "wait-blocked"]);
    }

    #[test]
    fn a_lost_wake_is_known_only_of_the_wait_with_interrupts() {
        assert!(known("wait-blocked", &Outcome::WakeLost).is_some());
        assert_eq!(known("wait-active", &Outcome::WakeLost), None);
        assert_eq!(known("wait-blocked", &Outcome::CompletionLost), None);
    }

    #[test]
    fn the_prediction_is_the_models_and_says_apart_what_is_known_of_hardware() {
        let hardware = Prediction { without_atomics: "completes".to_owned(), reason: "gfx942 needs none.".to_owned() };
        let prediction = prediction(&hardware);
        assert_eq!(prediction.without_atomics, COMPLETION_LOST);
        assert!(prediction.reason.contains("the software GPU") && prediction.reason.ends_with("gfx942 needs none."));
    }

    #[test]
    fn interrupts_are_on_in_a_worker_of_their_own_and_the_users_choice_stands() {
        let polling = Launcher { environment: vec![(INTERRUPT_VARIABLE.to_owned(), "0".into())], ..Launcher::default() };
        assert_eq!(with_interrupts(&polling).environment[0].1, "1");
        assert_eq!(with_interrupts(&Launcher::default()).environment, []);
    }
}
