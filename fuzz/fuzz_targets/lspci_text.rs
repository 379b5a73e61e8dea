//! Any text as `lspci` output: it is read or refused, every function has a path that ends in it, and the judgement exists.

use aqlprobe::pci::{lspci, path};

pub fn run(bytes: &[u8]) {
    let Ok(listing) = lspci::read(&String::from_utf8_lossy(bytes)) else { return };
    for function in &listing.functions {
        if let Some(hierarchy) = listing.hierarchy(&function.bdf) {
            assert_eq!(hierarchy.endpoint().map(|hop| hop.bdf), Some(function.bdf));
            let _ = path::judge(&hierarchy).to_string();
        }
    }
}
