//! Any text as a fault plan: it is refused with a reason, or what it says is said again by what is printed of it.
#![no_main]

use aqlprobe::faults::FaultPlan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match String::from_utf8_lossy(bytes).parse::<FaultPlan>() {
        Ok(plan) => {
            let again = plan.to_string().parse::<FaultPlan>().unwrap_or_else(|error| panic!("{plan}: {error}"));
            assert_eq!(plan, again);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
