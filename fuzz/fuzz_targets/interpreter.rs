//! Any instruction words on every target, for a bounded number of steps. See `model::fuzz::interpreter` for the layout.
#![no_main]

use aqlprobe::model::fuzz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzz::interpreter(bytes));
