//! The software GPU: what the hardware sees (rings, doorbells and memory) and nothing more.

pub mod address;
pub mod bus;
pub mod compute;
mod device;
mod doorbell;
pub mod endpoint_registers;
pub mod fabric;
pub mod founding;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod gpu;
pub mod host;
pub mod isa;
pub mod kmt;
mod live_config;
pub mod machine;
pub mod memory;
mod net;
mod placement;
pub mod processor;
pub mod queue_error;
mod sdma;
pub mod target;
#[cfg(test)]
mod test_path;
pub mod vfio_user;
mod wakeup;
