//! Any instruction words on every target, for a bounded number of steps. See `model::fuzz::interpreter` for the layout.

use aqlprobe::model::fuzz;

pub fn run(bytes: &[u8]) {
    fuzz::interpreter(bytes);
}
