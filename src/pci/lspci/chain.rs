//! Which functions are on the way to a device.

use super::Listing;
use crate::pci::{Bdf, Hierarchy};

impl Listing {
    /// Most functions a text may name.
    pub const FUNCTIONS_AT_MOST: usize = 1 << 16;
    /// Most notes kept; a [`Note::More`](super::Note::More) stands for the rest.
    pub const NOTES_AT_MOST: usize = 64;

    /// The graphics and compute functions of AMD: class 03xx or 1200 of vendor 1002, by number or in words.
    pub fn accelerators(&self) -> Vec<Bdf> {
        Vec::new()
    }

    /// The path to a device: the bridge above a bus is the one that has it as its secondary bus, or that a tree shows there.
    /// `None` when the text does not name the device.
    pub fn hierarchy(&self, _device: &Bdf) -> Option<Hierarchy> {
        None
    }
}
