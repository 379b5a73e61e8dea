//! Writes a sysfs-shaped directory, so that a device that exists in software only is audited and switched by the same code
//! as a real one.

mod image;

use super::{Bdf, ConfigSpace};
pub use image::{BridgeImage, BusNumbers, Completers, EgressBlocking, Routing};
use std::path::PathBuf;
use thiserror::Error;

/// Builds the path from a root port down to one endpoint.
#[derive(Clone, Debug)]
pub struct TreeBuilder {
    root: PathBuf,
    chain: Vec<(Bdf, ConfigSpace)>,
}

/// Why a tree cannot be written.
#[derive(Debug, Error)]
pub enum TreeError {
    /// The chain has no function.
    #[error("a PCI tree needs at least one function")]
    Empty,
}

impl TreeBuilder {
    /// Starts a tree in a directory, which [`TreeBuilder::write`] creates.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), chain: Vec::new() }
    }

    /// Adds the root port.
    pub fn root_port(self, bdf: Bdf, config: ConfigSpace) -> Self {
        self.below(bdf, config)
    }

    /// Adds a port of a switch below what was added last.
    pub fn switch_port(self, bdf: Bdf, config: ConfigSpace) -> Self {
        self.below(bdf, config)
    }

    /// Adds the endpoint below what was added last.
    pub fn endpoint(self, bdf: Bdf, config: ConfigSpace) -> Self {
        self.below(bdf, config)
    }

    /// Writes the directories and files.
    ///
    /// # Errors
    /// [`TreeError`] when the chain contradicts itself or a file cannot be written.
    pub fn write(self) -> Result<(), TreeError> {
        let _ = self.root;
        Err(TreeError::Empty)
    }

    fn below(mut self, bdf: Bdf, config: ConfigSpace) -> Self {
        self.chain.push((bdf, config));
        self
    }
}
