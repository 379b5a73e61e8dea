//! Any text as a fault plan: it is refused with a reason, or what it says is said again by what is printed of it.

use aqlprobe::faults::FaultPlan;

pub fn run(bytes: &[u8]) {
    match String::from_utf8_lossy(bytes).parse::<FaultPlan>() {
        Ok(plan) => {
            let again = plan.to_string().parse::<FaultPlan>().unwrap_or_else(|error| panic!("{plan}: {error}"));
            assert_eq!(plan, again);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
