//! Any text below a root as an `lspci -t` tree beside a listing of two devices.

use aqlprobe::pci::lspci;

pub fn run(bytes: &[u8]) {
    let tree = String::from_utf8_lossy(bytes);
    let text = format!("-[0000:00]-+-{tree}\n\n00:01.0 PCI bridge: Intel Device 1901\n0b:00.0 VGA compatible controller: AMD\n");
    if let Ok(listing) = lspci::read(&text) {
        for device in listing.accelerators() {
            let _ = listing.hierarchy(&device);
        }
    }
}
