//! Any bytes as a message of the vfio-user protocol.
#![no_main]

use aqlprobe::model::vfio_user::fuzz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzz::message(bytes));
