//! Any text as a hex dump: it is read or refused, and what is read is config space of a legal size.
#![no_main]

use aqlprobe::pci::dump;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(functions) = dump::read(&String::from_utf8_lossy(bytes)) {
        for function in functions {
            assert!((64..=4096).contains(&function.config.known()), "{} bytes", function.config.known());
        }
    }
});
