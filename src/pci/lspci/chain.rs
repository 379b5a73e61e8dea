//! Which functions are on the way to a device.

use super::{ListedFunction, Listing};
use crate::pci::{Bdf, Completeness, Hierarchy, Hop, PortType};

/// Vendor ID of AMD's graphics and compute functions.
const AMD_GRAPHICS: u16 = 0x1002;
/// Base class of display controllers.
const DISPLAY: u16 = 0x03;
/// Class of processing accelerators, which Instinct cards without display show.
const PROCESSING_ACCELERATOR: u16 = 0x1200;

impl Listing {
    /// Most functions a text may name.
    pub const FUNCTIONS_AT_MOST: usize = 1 << 16;
    /// Most notes kept; a [`Note::More`](super::Note::More) stands for the rest.
    pub const NOTES_AT_MOST: usize = 64;

    /// The function at an address; `None` when the text does not name it.
    pub fn function(&self, bdf: &Bdf) -> Option<&ListedFunction> {
        self.index.get(bdf).map(|&at| &self.functions[at])
    }

    /// The graphics and compute functions of AMD: class 03xx or 1200 of vendor 1002, by number or in words.
    pub fn accelerators(&self) -> Vec<Bdf> {
        self.functions.iter().filter(|function| function.is_accelerator()).map(|function| function.bdf).collect()
    }

    /// The path to a device: the bridge above a bus is the one that has it as its secondary bus, or the one that a tree or a
    /// path of `lspci -PP` shows there. `None` when the text does not name the device.
    pub fn hierarchy(&self, device: &Bdf) -> Option<Hierarchy> {
        let mut below = self.function(device)?;
        let mut hops: Vec<Hop> = vec![below.hop.clone()];
        while let Some(bridge) = self.above(below) {
            hops.push(bridge.hop.clone());
            below = bridge;
        }
        hops.reverse();
        // Bus 0 is below no bridge: bridges number the buses below them higher than their own.
        let on_root_bus = below.bdf.bus == 0 || self.tree.on_root_bus.contains(&below.bdf);
        let has_root_port = hops.iter().any(|hop| hop.port_type() == Some(PortType::RootPort));
        let completeness = if on_root_bus || has_root_port { Completeness::Whole } else { Completeness::Partial };
        Some(Hierarchy { hops, completeness })
    }

    /// Bus numbers grow downwards, which also keeps a contradictory text from leading round in circles.
    fn above(&self, below: &ListedFunction) -> Option<&ListedFunction> {
        let numbered = self.bridge_above.get(&(below.bdf.domain, below.bdf.bus)).map(|&at| &self.functions[at]);
        let drawn = || self.function(self.tree.above.get(&below.bdf)?);
        numbered.or_else(drawn).filter(|bridge| bridge.bdf.domain == below.bdf.domain && bridge.bdf.bus < below.bdf.bus)
    }
}

impl ListedFunction {
    fn is_accelerator(&self) -> bool {
        let is_amd = match self.hop.vendor_id {
            Some(vendor) => vendor == AMD_GRAPHICS,
            None => ["Advanced Micro Devices", "[AMD/ATI]", "ATI Technologies"].iter().any(|name| self.description.contains(name)),
        };
        is_amd
            && match self.class {
                Some(class) => class >> 8 == DISPLAY || class == PROCESSING_ACCELERATOR,
                // A tree has no classes.
                None => {
                    let named = |words: &[&str]| words.iter().any(|word| self.hop.name.contains(word));
                    named(&["Radeon", "Instinct", "FirePro", "FireGL"]) && !named(&["Audio", "USB", "Port"])
                }
            }
    }
}
