//! What a runtime says of itself, and what it lacks.

use std::ffi::{CStr, c_char};
use std::fmt;

use super::identity::{LibraryIdentity, unquoted};
use super::runtime::{Plain, Runtime, query};
use super::sys::*;

/// A version of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceVersion {
    /// Incompatible changes.
    pub major: u16,
    /// Additions.
    pub minor: u16,
}

impl fmt::Display for InterfaceVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// An initialised runtime, described. What it does not say stays unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeFacts {
    /// The library; `None` for the runtime inside this program.
    pub library: Option<LibraryIdentity>,
    /// What the runtime itself names its build (`HSA_AMD_SYSTEM_INFO_BUILD_VERSION`), else what its file says.
    pub build: Option<String>,
    /// HSA's interface (`HSA_SYSTEM_INFO_VERSION_MAJOR`, `_MINOR`).
    pub interface: Option<InterfaceVersion>,
    /// AMD's extensions (`HSA_AMD_SYSTEM_INFO_EXT_VERSION_MAJOR`, `_MINOR`), which ROCm 5.2 does not tell.
    pub amd_interface: Option<InterfaceVersion>,
    /// Ticks per second of the system clock.
    pub timestamp_hz: u64,
    /// Extensions by name, `0x…` for numbers that hsa.h does not name.
    pub extensions: Vec<String>,
    /// Optional functions of [`super::Functions`] that it does not export.
    pub missing_functions: Vec<&'static str>,
}

impl Runtime {
    /// Asks the runtime what it is. Nothing here can fail: a question it does not understand stays unanswered.
    #[must_use]
    pub fn facts(&self) -> RuntimeFacts {
        let library = self.api().library();
        let build = self.build().or_else(|| library.as_ref()?.build.clone());
        RuntimeFacts {
            build,
            library,
            interface: self.version(HSA_SYSTEM_INFO_VERSION_MAJOR, HSA_SYSTEM_INFO_VERSION_MINOR),
            amd_interface: self.version(HSA_AMD_SYSTEM_INFO_EXT_VERSION_MAJOR, HSA_AMD_SYSTEM_INFO_EXT_VERSION_MINOR),
            timestamp_hz: self.timestamp_hz(),
            extensions: self.ask::<[u8; 128]>(HSA_SYSTEM_INFO_EXTENSIONS).map(|bits| extensions(&bits)).unwrap_or_default(),
            missing_functions: self.functions().missing(),
        }
    }

    fn ask<T: Plain>(&self, attribute: hsa_system_info_t) -> Option<T> {
        // SAFETY: each attribute is asked for with the type hsa.h gives it.
        unsafe { query(|out| (self.functions().hsa_system_get_info)(attribute, out)) }.ok()
    }

    fn version(&self, major: hsa_system_info_t, minor: hsa_system_info_t) -> Option<InterfaceVersion> {
        Some(InterfaceVersion { major: self.ask(major)?, minor: self.ask(minor)? })
    }

    fn build(&self) -> Option<String> {
        let address = self.ask::<usize>(HSA_AMD_SYSTEM_INFO_BUILD_VERSION)?;
        if address == 0 {
            return None;
        }
        // SAFETY: the attribute is a string of the runtime (hsa.h), which stays loaded.
        let text = unsafe { CStr::from_ptr(address as *const c_char) };
        unquoted(&text.to_string_lossy())
    }
}

/// Names of the set bits of `HSA_SYSTEM_INFO_EXTENSIONS` (`hsa_extension_t`).
fn extensions(bits: &[u8; 128]) -> Vec<String> {
    const NAMES: [(usize, &str); 8] = [
        (0, "finalizer"),
        (1, "images"),
        (2, "performance counters"),
        (3, "profiling events"),
        (0x200, "AMD profiler"),
        (0x201, "AMD loader"),
        (0x202, "AMD aqlprofile"),
        (0x203, "AMD PC sampling"),
    ];
    let named = |bit: usize| {
        let name = NAMES.iter().find(|(number, _)| *number == bit).map(|(_, name)| (*name).to_owned());
        name.unwrap_or_else(|| format!("{bit:#x}"))
    };
    (0..bits.len() * 8).filter(|bit| bits[bit / 8] >> (bit % 8) & 1 == 1).map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_i_of_the_extensions_is_extension_i() {
        let mut bits = [0; 128];
        // hsa.h: images is 1; AMD's loader is 0x201, byte 64 bit 1.
        bits[0] = 0b10;
        bits[64] = 0b1010;
        bits[127] = 0x80;
        assert_eq!(extensions(&bits), ["images", "AMD loader", "AMD PC sampling", "0x3ff"]);
        assert_eq!(extensions(&[0; 128]), Vec::<String>::new());
    }

    #[test]
    fn versions_compare_by_number() {
        let version = |major, minor| InterfaceVersion { major, minor };
        assert!(version(1, 15) > version(1, 9));
        assert_eq!(version(1, 15).to_string(), "1.15");
    }
}
