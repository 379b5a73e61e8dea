//! A queue of the device over any memory: ring, indices, doorbell, packets, signals, kernels. See `model::fuzz::aql_queue` for the layout.
#![no_main]

use aqlprobe::model::fuzz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzz::aql_queue(bytes));
