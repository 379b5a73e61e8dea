//! The software GPU: what the hardware sees (rings, doorbells and memory) and nothing more.

pub mod address;
pub mod bus;
pub mod memory;
