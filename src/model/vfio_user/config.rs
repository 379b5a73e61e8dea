//! The endpoint's config space: the founding Fiji's bytes, with the write masks that PCI Express gives each register.
//!
//! What differs from the published dump, and why:
//!
//! * Registers that software writes start at their reset values: the dump is of a device that a driver had set up.
//! * BAR4 (I/O ports) and the expansion ROM do not exist, and the BARs have the sizes of [`super::Region`].
//! * No legacy interrupt (Interrupt Pin 0) and no second function: the endpoint has one MSI vector, and the audio function is not
//!   modelled.
//! * Device Capabilities 2 gains [`COMPLETER_CAPABILITIES`] unless it is asked not to: before vfio-pci enables a device's
//!   AtomicOps it looks at the device's own completer bits (Linux, `vfio_pci_core.c`), which a Fiji does not have.
//!
//! The live copy is a file, which the fabric looks at for every AtomicOp.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::model::founding::FIJI_CONFIG;
use crate::pci::{ConfigOffset, ConfigSpace, registers as reg};

/// Added to Device Capabilities 2: completers of 32 and 64 bits, and Completion Timeout Disable, without which Linux finds a completer
/// unusual.
const COMPLETER_CAPABILITIES: u32 = reg::COMPLETER_32 | reg::COMPLETER_64 | 0x10;

const SIZE: usize = ConfigSpace::EXTENDED_SIZE;

const HEADER_TYPE: usize = 0x0e;
const BARS: usize = 0x10;
const ROM: usize = 0x30;
const INTERRUPT_PIN: usize = 0x3d;
/// The PCI Express capability and registers in it, at the founding device's offsets.
const DEVICE_CONTROL: usize = 0x60;
const DEVICE_CAPABILITIES_2: usize = 0x7c;
const DEVICE_CONTROL_2: usize = 0x80;

/// Whether a write to AtomicOp Requester Enable changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RequesterEnable {
    /// It does, as in a real device.
    #[default]
    Writable,
    /// It stays clear.
    StuckClear,
    /// It stays set.
    StuckSet,
}

/// Whether the endpoint says that it completes AtomicOps itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EndpointCompleter {
    /// 32-bit and 64-bit ones, so that vfio-pci considers the device at all.
    #[default]
    Advertised,
    /// None, as the founding device.
    Absent,
}

/// A register's place, its writable bits, and what they are after a reset. Every other bit is read-only.
struct Writable {
    at: usize,
    mask: u32,
    reset: u32,
}

const fn writable(at: usize, mask: u32, reset: u32) -> Writable {
    Writable { at, mask, reset }
}

/// PCI 3.0 §6.2 for the header, PCI Power Management 1.2 §3.2.4, PCIe 7.5.3 and PCI 3.0 §6.8.1 for the capabilities at 0x50, 0x58 and 0xa0.
const WRITABLE: [Writable; 15] = [
    // Command: I/O space, memory space, bus master, parity error response, SERR#, interrupt disable.
    writable(0x04, 0x0547, 0),
    // Cache line size.
    writable(0x0c, 0xff, 0),
    // BAR0/1, BAR2/3, BAR5: as many address bits as their sizes leave.
    writable(BARS, 0xfc00_0000, 0),
    writable(BARS + 4, 0xffff_ffff, 0),
    writable(BARS + 8, 0xffff_f000, 0),
    writable(BARS + 12, 0xffff_ffff, 0),
    writable(BARS + 20, 0xffff_f000, 0),
    // Interrupt line.
    writable(0x3c, 0xff, 0),
    // Power management control: power state, PME enable.
    writable(0x54, 0x0103, 0),
    // Device Control, with the defaults of 7.5.3.4; no Function Level Reset.
    writable(DEVICE_CONTROL, 0x7fff, 0x2810),
    // Link Control and Link Control 2 (target speed 8 GT/s).
    writable(0x68, 0x03cb, 0),
    writable(0x88, 0xffbf, 0x0003),
    // MSI: enable and multiple message enable, then address and data.
    writable(0xa0, 0x0071_0000, 0),
    writable(0xa4, 0xffff_fffc, 0),
    writable(0xa8, 0xffff_ffff, 0),
];
/// MSI data, and Device Control 2 without AtomicOp Requester Enable: completion timeout value and disable.
const WRITABLE_TOO: [Writable; 2] = [writable(0xac, 0xffff, 0), writable(DEVICE_CONTROL_2, 0x001f, 0)];

fn put(bytes: &mut [u8; SIZE], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn get(bytes: &[u8; SIZE], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What a write to config space changed that the device's work depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) command: u16,
    pub(super) device_control_2: u16,
}

/// Config space with its write masks.
#[derive(Debug)]
pub(super) struct EndpointConfig {
    bytes: Box<[u8; SIZE]>,
    masks: Box<[u8; SIZE]>,
    at_reset: Box<[u8; SIZE]>,
    live: Option<File>,
}

impl EndpointConfig {
    pub(super) fn new(requester: RequesterEnable, completer: EndpointCompleter) -> Self {
        let mut bytes = Box::new([0; SIZE]);
        bytes[..FIJI_CONFIG.len()].copy_from_slice(&FIJI_CONFIG);
        // BAR4, BAR5 and the ROM; the types of BAR0 to BAR3 (64-bit, prefetchable) are the founding device's.
        put(&mut bytes, BARS + 16, 0);
        put(&mut bytes, BARS + 20, 0);
        put(&mut bytes, ROM, 0);
        bytes[HEADER_TYPE] &= !reg::HEADER_TYPE_MULTI_FUNCTION;
        bytes[INTERRUPT_PIN] = 0;
        if completer == EndpointCompleter::Advertised {
            let capabilities = get(&bytes, DEVICE_CAPABILITIES_2) | COMPLETER_CAPABILITIES;
            put(&mut bytes, DEVICE_CAPABILITIES_2, capabilities);
        }
        let mut masks = Box::new([0; SIZE]);
        for Writable { at, mask, reset } in WRITABLE.iter().chain(&WRITABLE_TOO) {
            let value = get(&bytes, *at) & !mask | reset;
            put(&mut bytes, *at, value);
            let mask = get(&masks, *at) | mask;
            put(&mut masks, *at, mask);
        }
        let enable = u32::from(reg::REQUESTER_ENABLE);
        let control = get(&bytes, DEVICE_CONTROL_2) & !enable;
        put(&mut bytes, DEVICE_CONTROL_2, control | if requester == RequesterEnable::StuckSet { enable } else { 0 });
        if requester == RequesterEnable::Writable {
            let mask = get(&masks, DEVICE_CONTROL_2) | enable;
            put(&mut masks, DEVICE_CONTROL_2, mask);
        }
        Self { at_reset: bytes.clone(), bytes, masks, live: None }
    }

    /// The bytes as they are.
    pub(super) fn space(&self) -> ConfigSpace {
        ConfigSpace::from_bytes(self.bytes.to_vec())
    }

    /// Writes every later change to a file of the same bytes.
    pub(super) fn keep_live(&mut self, file: File) {
        self.live = Some(file);
    }

    /// Whether the device may send requests.
    pub(super) fn bus_master(&self) -> bool {
        self.control().command & reg::COMMAND_BUS_MASTER != 0
    }

    /// The registers that decide what the device may send.
    pub(super) fn control(&self) -> Control {
        let word = |at: usize| u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]);
        Control { command: word(usize::from(reg::COMMAND.0)), device_control_2: word(DEVICE_CONTROL_2) }
    }

    /// Copies bytes out; `None` when they are not all config space.
    pub(super) fn read(&self, at: ConfigOffset, data: &mut [u8]) -> Option<()> {
        let start = usize::from(at.0);
        data.copy_from_slice(self.bytes.get(start..start.checked_add(data.len())?)?);
        Some(())
    }

    /// Writes the writable bits; `None` when the bytes are not all config space.
    pub(super) fn write(&mut self, at: ConfigOffset, data: &[u8]) -> Option<io::Result<()>> {
        let start = usize::from(at.0);
        let range = start..start.checked_add(data.len())?;
        let masks = self.masks.get(range.clone())?;
        for ((byte, mask), new) in self.bytes.get_mut(range.clone())?.iter_mut().zip(masks).zip(data) {
            *byte = *byte & !mask | new & mask;
        }
        Some(self.publish(range))
    }

    /// Every writable register gets its reset value.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.bytes.copy_from_slice(&self.at_reset[..]);
        self.publish(0..SIZE)
    }

    fn publish(&self, range: std::ops::Range<usize>) -> io::Result<()> {
        self.live.as_ref().map_or(Ok(()), |file| file.write_all_at(&self.bytes[range.clone()], range.start as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(config: &EndpointConfig, at: u16) -> u32 {
        let mut bytes = [0; 4];
        config.read(ConfigOffset(at), &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    fn after_writing(config: &mut EndpointConfig, at: u16, value: u32) -> u32 {
        config.write(ConfigOffset(at), &value.to_le_bytes()).unwrap().unwrap();
        word(config, at)
    }

    fn fresh() -> EndpointConfig {
        EndpointConfig::new(RequesterEnable::Writable, EndpointCompleter::Advertised)
    }

    #[test]
    fn the_endpoint_is_the_founding_device_after_a_reset() {
        let space = fresh().space();
        assert_eq!((space.u16(reg::VENDOR_ID), space.u16(reg::DEVICE_ID)), (Some(0x1002), Some(0x7300)));
        assert_eq!(space.known(), 4096);
        let capability = space.pcie_capability().unwrap().unwrap();
        assert_eq!(capability.offset, ConfigOffset(0x58));
        assert_eq!((capability.devcap2(), capability.devctl2()), (Some(ConfigOffset(0x7c)), Some(ConfigOffset(0x80))));
        assert_eq!((space.u16(reg::COMMAND), space.u16(ConfigOffset(0x80))), (Some(0), Some(0)));
        // Everything that is neither written by software nor named in the module's list is the dump's.
        for at in [0x00, 0x08, 0x2c, 0x34, 0x48, 0x4c, 0x50, 0x58, 0x5c, 0x64, 0x84] {
            assert_eq!(space.bytes()[at..at + 4], FIJI_CONFIG[at..at + 4], "at {at:#x}");
        }
    }

    #[test]
    fn completer_bits_are_added_only_when_asked_for() {
        assert_eq!(word(&fresh(), 0x7c), 0x0070_0190);
        assert_eq!(word(&EndpointConfig::new(RequesterEnable::Writable, EndpointCompleter::Absent), 0x7c), 0x0070_0000);
    }

    #[test]
    fn requester_enable_sticks_as_it_was_told_to() {
        for (requester, at_reset, set, cleared) in [
            (RequesterEnable::Writable, 0, 0x40, 0),
            (RequesterEnable::StuckClear, 0, 0, 0),
            (RequesterEnable::StuckSet, 0x40, 0x40, 0x40),
        ] {
            let mut config = EndpointConfig::new(requester, EndpointCompleter::Advertised);
            assert_eq!(word(&config, 0x80), at_reset, "{requester:?}");
            assert_eq!(after_writing(&mut config, 0x80, 0x40), set, "{requester:?}");
            assert_eq!(after_writing(&mut config, 0x80, 0), cleared, "{requester:?}");
        }
    }

    /// PCI 3.0 §6.2.5.1: all ones written to a BAR read back as its size and type.
    #[test]
    fn bars_answer_sizing_with_their_sizes() {
        let mut config = fresh();
        let sizing: Vec<u32> = (0..6).map(|bar| after_writing(&mut config, 0x10 + bar * 4, u32::MAX)).collect();
        assert_eq!(sizing, [0xfc00_000c, 0xffff_ffff, 0xffff_f00c, 0xffff_ffff, 0, 0xffff_f000]);
        assert_eq!(after_writing(&mut config, 0x30, u32::MAX), 0, "no expansion ROM");
    }

    #[test]
    fn identity_and_capabilities_are_read_only() {
        let mut config = fresh();
        let before = config.space();
        for at in [0x00, 0x08, 0x2c, 0x34, 0x48, 0x50, 0x58, 0x5c, 0x64, 0x7c, 0x84, 0x100, 0xffc] {
            assert_eq!(Some(after_writing(&mut config, at, !0)), before.u32(ConfigOffset(at)), "at {at:#x}");
        }
    }

    #[test]
    fn single_bytes_can_be_written_and_what_leaves_config_space_is_refused() {
        let mut config = fresh();
        config.write(ConfigOffset(0x04), &[0x04]).unwrap().unwrap();
        assert!(config.bus_master());
        config.reset().unwrap();
        assert!(!config.bus_master());
        assert!(config.write(ConfigOffset(0xffd), &[0; 4]).is_none());
        assert!(config.read(ConfigOffset(0x1000), &mut [0]).is_none());
        assert!(config.read(ConfigOffset(u16::MAX), &mut [0; 8]).is_none());
    }

    #[test]
    fn the_live_file_follows_writes_and_resets() {
        let mut config = fresh();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[0; SIZE]).unwrap();
        config.keep_live(file.try_clone().unwrap());
        config.write(ConfigOffset(0x80), &[0x40, 0]).unwrap().unwrap();
        let live = |at| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            byte[0]
        };
        assert_eq!(live(0x80), 0x40);
        config.reset().unwrap();
        assert_eq!((live(0x80), live(0)), (0, 0x02));
    }
}
