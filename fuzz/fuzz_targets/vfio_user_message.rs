//! Any bytes as a message of the vfio-user protocol.

use aqlprobe::model::vfio_user::fuzz;

pub fn run(bytes: &[u8]) {
    fuzz::message(bytes);
}
