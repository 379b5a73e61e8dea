//! A queue of the device over any memory: ring, indices, doorbell, packets, signals, kernels. See `model::fuzz::aql_queue` for the layout.

use aqlprobe::model::fuzz;

pub fn run(bytes: &[u8]) {
    fuzz::aql_queue(bytes);
}
