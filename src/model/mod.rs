//! The software GPU: what the hardware sees (rings, doorbells and memory) and nothing more.

pub mod address;
pub mod bus;
pub mod compute;
pub mod fabric;
pub mod founding;
pub mod gpu;
pub mod isa;
pub mod memory;
pub mod processor;
