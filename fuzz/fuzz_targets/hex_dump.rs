//! Any text as a hex dump: it is read or refused, and what is read is config space of a legal size.

use aqlprobe::pci::dump;

pub fn run(bytes: &[u8]) {
    if let Ok(functions) = dump::read(&String::from_utf8_lossy(bytes)) {
        for function in functions {
            assert!((64..=4096).contains(&function.config.known()), "{} bytes", function.config.known());
        }
    }
}
