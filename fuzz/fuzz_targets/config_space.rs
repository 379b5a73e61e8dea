//! Any bytes as config space: every walk ends, and the judgement on them exists.

use aqlprobe::pci::{Bdf, Completeness, ConfigSpace, Hierarchy, Hop, path};

pub fn run(bytes: &[u8]) {
    let config = ConfigSpace::from_bytes(bytes.to_vec());
    let _ = config.pcie_capability();
    let _ = config.advanced_error_reporting();
    let hop = Hop::read(Bdf { domain: 0, bus: 1, device: 0, function: 0 }, &config);
    for completeness in [Completeness::Whole, Completeness::Partial] {
        let _ = path::judge(&Hierarchy { hops: vec![hop.clone(), hop.clone()], completeness }).to_string();
    }
}
