//! In which state the device is to be driven: what the process that starts this one wants, and how it is brought about.
//!
//! Opening a function through vfio-pci resets it, and closing it puts config space back. So AtomicOp Requester Enable cannot be
//! switched before the device is opened: whoever holds the device applies the wanted state through its own config region right
//! after opening. Who asked for it reads the bit back through sysfs meanwhile.

use std::env;
use std::path::PathBuf;

use super::error::VfioError;
use super::function::ConfigWords;
use crate::pci::{ConfigOffset, registers};
use crate::runtime::log;

/// Environment variable: the PCI address of the endpoint to drive over vfio-pci, in place of the software GPU of the process.
pub const DEVICE_ENV: &str = "AQLPROBE_VFIO_DEVICE";
/// Environment variable: `on`, `off` or `leave`; what AtomicOp Requester Enable is to be while the device is open.
pub const REQUESTER_ENV: &str = "AQLPROBE_REQUESTER_ENABLE";
/// Environment variable: `on` or `off`; what Bus Master Enable is to be while the device is open.
pub const BUS_MASTER_ENV: &str = "AQLPROBE_BUS_MASTER";
/// Environment variable: a file that holds the device's fabric counters as of the last queue that was created or destroyed.
pub const COUNTERS_ENV: &str = "AQLPROBE_VFIO_COUNTERS";

/// What a bit is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Set.
    On,
    /// Clear.
    Off,
    /// As opening the device left it.
    #[default]
    Leave,
}

/// What the environment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// AtomicOp Requester Enable.
    pub requester: Wanted,
    /// Bus Master Enable.
    pub bus_master: Wanted,
    /// Where to keep the fabric counters.
    pub counters: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment. Without a word about them, the requester bit is left alone and the device is made bus master.
    ///
    /// # Errors
    /// A variable that means nothing.
    pub fn from_environment() -> Result<Self, VfioError> {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(value_of: impl Fn(&str) -> Option<String>) -> Result<Self, VfioError> {
        let wanted = |variable: &'static str, default: Wanted, allowed: &'static str| match (
            value_of(variable).as_deref(),
            allowed.contains("leave"),
        ) {
            (None | Some(""), _) => Ok(default),
            (Some("on"), _) => Ok(Wanted::On),
            (Some("off"), _) => Ok(Wanted::Off),
            (Some("leave"), true) => Ok(Wanted::Leave),
            (Some(other), _) => Err(VfioError::Environment { variable, value: other.to_owned(), allowed }),
        };
        Ok(Self {
            requester: wanted(REQUESTER_ENV, Wanted::Leave, "on, off or leave")?,
            bus_master: wanted(BUS_MASTER_ENV, Wanted::On, "on or off")?,
            counters: value_of(COUNTERS_ENV).filter(|path| !path.is_empty()).map(PathBuf::from),
        })
    }
}

/// Command and Device Control 2 as they were found when the device was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    command: u16,
    devctl2: Option<(ConfigOffset, u16)>,
}

fn with(word: u16, bit: u16, wanted: Wanted) -> u16 {
    match wanted {
        Wanted::On => word | bit,
        Wanted::Off => word & !bit,
        Wanted::Leave => word,
    }
}

/// Brings both bits into the wanted states, touching no other. A requester bit that does not stick is a finding, which the fabric's
/// counters and whoever reads config space will show: no reason not to drive the device.
///
/// # Errors
/// Config space cannot be read or written.
pub fn apply(config: &impl ConfigWords, devctl2: Option<ConfigOffset>, settings: &Settings) -> Result<Found, VfioError> {
    let read = |at| config.read_word(at).map_err(VfioError::Config);
    let write = |at, value| config.write_word(at, value).map_err(VfioError::Config);
    let command = read(registers::COMMAND)?;
    let wanted_command = with(command | registers::COMMAND_MEMORY, registers::COMMAND_BUS_MASTER, settings.bus_master);
    if wanted_command != command {
        write(registers::COMMAND, wanted_command)?;
    }
    let Some(at) = devctl2 else {
        log::note(|| "the function has no Device Control 2, so no AtomicOp Requester Enable".to_owned());
        return Ok(Found { command, devctl2: None });
    };
    let found = read(at)?;
    let wanted = with(found, registers::REQUESTER_ENABLE, settings.requester);
    if wanted != found {
        write(at, wanted)?;
    }
    let now = read(at)?;
    log::note(|| {
        format!("Device Control 2 was {found:#06x} after opening and is {now:#06x} now ({REQUESTER_ENV}: {:?})", settings.requester)
    });
    Ok(Found { command, devctl2: Some((at, found)) })
}

/// Puts both registers back, as far as the device still answers: closing it does the same.
pub fn put_back(config: &impl ConfigWords, found: Found) {
    let _ = config.write_word(registers::COMMAND, found.command);
    if let Some((at, value)) = found.devctl2 {
        let _ = config.write_word(at, value);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::io;

    use super::*;

    const DEVCTL2: ConfigOffset = ConfigOffset(0x80);

    /// Config space of which a mask says what may be written.
    struct Fake {
        words: RefCell<BTreeMap<u16, u16>>,
        writable: u16,
        writes: RefCell<Vec<(u16, u16)>>,
    }

    impl Fake {
        fn new(command: u16, devctl2: u16, writable: u16) -> Self {
            Self { words: RefCell::new(BTreeMap::from([(4, command), (0x80, devctl2)])), writable, writes: RefCell::default() }
        }

        fn words(&self) -> (u16, u16) {
            (self.words.borrow()[&4], self.words.borrow()[&0x80])
        }
    }

    impl ConfigWords for Fake {
        fn read_word(&self, at: ConfigOffset) -> io::Result<u16> {
            Ok(self.words.borrow()[&at.0])
        }

        fn write_word(&self, at: ConfigOffset, value: u16) -> io::Result<()> {
            self.writes.borrow_mut().push((at.0, value));
            let old = self.words.borrow()[&at.0];
            self.words.borrow_mut().insert(at.0, (old & !self.writable) | (value & self.writable));
            Ok(())
        }
    }

    fn settings(requester: Wanted, bus_master: Wanted) -> Settings {
        Settings { requester, bus_master, counters: None }
    }

    #[test]
    fn only_the_wanted_bits_change_and_both_registers_come_back() {
        let config = Fake::new(0x0400, 0x0400, u16::MAX);
        let found = apply(&config, Some(DEVCTL2), &settings(Wanted::On, Wanted::On)).unwrap();
        assert_eq!(config.words(), (0x0406, 0x0440));
        put_back(&config, found);
        assert_eq!(config.words(), (0x0400, 0x0400));
    }

    #[test]
    fn off_clears_what_opening_left_set() {
        let config = Fake::new(0x0006, 0x0040, u16::MAX);
        apply(&config, Some(DEVCTL2), &settings(Wanted::Off, Wanted::Off)).unwrap();
        assert_eq!(config.words(), (0x0002, 0));
    }

    #[test]
    fn leave_writes_nothing() {
        let config = Fake::new(0x0006, 0x0040, u16::MAX);
        apply(&config, Some(DEVCTL2), &settings(Wanted::Leave, Wanted::On)).unwrap();
        assert!(config.writes.borrow().is_empty());
    }

    #[test]
    fn a_requester_bit_that_does_not_stick_is_no_error() {
        let config = Fake::new(0x0000, 0x0000, !0x0040);
        apply(&config, Some(DEVCTL2), &settings(Wanted::On, Wanted::On)).unwrap();
        assert_eq!(config.words(), (0x0006, 0));
    }

    #[test]
    fn the_environment_is_read_strictly() {
        let read = |variables: &[(&str, &str)]| {
            Settings::from_variables(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(read(&[]).unwrap(), settings(Wanted::Leave, Wanted::On));
        assert_eq!(read(&[(REQUESTER_ENV, "off"), (BUS_MASTER_ENV, "off")]).unwrap(), settings(Wanted::Off, Wanted::Off));
        let error = read(&[(REQUESTER_ENV, "1")]).unwrap_err().to_string();
        assert!(error.contains(REQUESTER_ENV) && error.contains("on, off or leave"), "{error}");
        assert!(read(&[(BUS_MASTER_ENV, "leave")]).is_err());
    }
}
