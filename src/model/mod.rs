//! The software GPU: what the hardware sees (rings, doorbells and memory) and nothing more.

pub mod address;
pub mod bus;
pub mod compute;
mod device;
pub mod endpoint_registers;
pub mod fabric;
pub mod founding;
pub mod gpu;
pub mod isa;
mod live_config;
pub mod memory;
pub mod processor;
pub mod queue_error;
pub mod target;
#[cfg(test)]
mod test_path;
pub mod vfio_user;
