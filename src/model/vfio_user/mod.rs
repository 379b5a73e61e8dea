//! The PCIe door: the software GPU as a PCI Express endpoint that QEMU attaches over the vfio-user protocol.
//!
//! [`Endpoint`] is the device: config space, three memory BARs ([`super::endpoint_registers`]), DMA to the memory that the client maps.
//! [`serve`] speaks vfio-user on a Unix socket and calls it; neither knows anything of the other's insides, so that the device can be
//! thrown anything at without a socket.
//!
//! **What arrives is hostile.** A guest chooses every offset, address, size, queue id and packet. Whatever it chooses, the
//! answer is an error, a status code or a fault of its own queue; this process does not panic, and the device reaches
//! no memory outside the maps. The client (QEMU) is trusted in one thing only: that it does not shorten the memory files it hands over.
//! Their length is checked when they are mapped, and QEMU seals the memory of `memory-backend-memfd` against shrinking; a file that
//! shrinks all the same ends this process by SIGBUS at the next access, which harms nobody but that client.
//!
//! The path above the endpoint is a modelled one ([`ModelledPath`]): the vfio-user protocol does not tell a device what stands
//! above it, so whoever starts the endpoint says it, and keeps it in step with what the guest is shown.

mod attached;
mod config;
mod doorbells;
mod endpoint;
#[cfg(fuzzing)]
pub mod fuzz;
mod interrupts;
mod message;
mod pages;
mod path;
mod region;
mod registers;
mod server;
mod socket;

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;

pub use attached::{DmaAccess, DmaError, DmaMap, Reachability};
pub use config::{EndpointCompleter, RequesterEnable};
pub use endpoint::{AccessError, Endpoint, EndpointError, EndpointOptions, Log};
pub use interrupts::InterruptError;
pub use path::{ModelledPath, Switch};
pub use region::Region;
pub use server::{Clients, ServerError, serve};
pub use socket::SocketError;
