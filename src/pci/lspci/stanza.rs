//! The decoded lines below a device line.
//!
//! Read as words rather than as lines: mail wraps lines at any word, and a page may join them all. A word that ends in a
//! colon says what the words after it are about.

use super::link::{Link, LinkState};
use super::{Access, BusRange, RegisterField};
use crate::pci::registers as reg;
use crate::pci::{ConfigOffset, ConfigSpace, PcieCapability, PortType, Register};

/// Registers a text shows bits of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers([Register; 5]);

/// A register of [`Registers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Command,
    DeviceStatus,
    DeviceCapabilities2,
    DeviceControl2,
    UncorrectableErrorStatus,
}

/// The bits a text may show: the register, the word of `lspci`, the bit.
const BITS: [(RegisterField, Which, &str, u32); 10] = [
    (RegisterField::BusMaster, Which::Command, "BusMaster", reg::COMMAND_BUS_MASTER as u32),
    (RegisterField::UnsupportedRequestDetected, Which::DeviceStatus, "UnsupReq", reg::UNSUPPORTED_REQUEST_DETECTED as u32),
    (RegisterField::AtomicRouting, Which::DeviceCapabilities2, "Routing", reg::ATOMIC_ROUTING),
    (RegisterField::Completer32, Which::DeviceCapabilities2, "32bit", reg::COMPLETER_32),
    (RegisterField::Completer64, Which::DeviceCapabilities2, "64bit", reg::COMPLETER_64),
    (RegisterField::Completer128, Which::DeviceCapabilities2, "128bitCAS", reg::COMPLETER_128),
    (RegisterField::RequesterEnable, Which::DeviceControl2, "ReqEn", reg::REQUESTER_ENABLE as u32),
    (RegisterField::EgressBlocking, Which::DeviceControl2, "EgressBlck", reg::EGRESS_BLOCK as u32),
    (RegisterField::EgressBlockedStatus, Which::UncorrectableErrorStatus, "AtomicOpBlocked", reg::AER_ATOMIC_EGRESS_BLOCKED),
    (RegisterField::UnsupportedRequestStatus, Which::UncorrectableErrorStatus, "UnsupReq", reg::AER_UNSUPPORTED_REQUEST),
];

impl Registers {
    pub fn get(&self, which: Which) -> Register {
        self.0[which as usize]
    }

    pub fn get_mut(&mut self, which: Which) -> &mut Register {
        &mut self.0[which as usize]
    }

    /// Takes what `earlier` shows and this does not; gives back the fields in which both differ.
    pub fn complete_from(&mut self, earlier: &Self) -> Vec<RegisterField> {
        let mut differing = Vec::new();
        for (field, which, _, mask) in BITS {
            match (self.get(which).all(mask), earlier.get(which).all(mask)) {
                (Some(later), Some(earlier)) if later != earlier => differing.push(field),
                (None, Some(set)) => *self.get_mut(which) = self.get(which).with(mask, if set { mask } else { 0 }),
                _ => {}
            }
        }
        differing
    }

    /// Takes in a word such as `ReqEn+`.
    fn word(&mut self, which: Which, word: &str) {
        let word = word.trim_end_matches(',');
        let (name, set) = match (word.strip_suffix('+'), word.strip_suffix('-')) {
            (Some(name), _) => (name, true),
            (_, Some(name)) => (name, false),
            _ => return,
        };
        // pciutils before 3.6 writes UnsuppReq in Device Status.
        let name = if name == "UnsuppReq" { "UnsupReq" } else { name };
        if let Some((.., mask)) = BITS.iter().find(|(_, register, word, _)| *register == which && *word == name) {
            *self.get_mut(which) = self.get(which).with(*mask, if set { *mask } else { 0 });
        }
    }
}

/// Where the virtual functions of a physical function are (PCIe 9.3.3): routing IDs from its own on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VirtualFunctions {
    pub number: u16,
    pub first_offset: u16,
    pub stride: u16,
}

/// What the text says of capabilities in general.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CapabilityList {
    /// Nothing.
    #[default]
    NotShown,
    /// The function has none (`Cap-`).
    Empty,
    /// Capabilities are listed, and the listing goes on behind them.
    Shown,
}

/// What the decoded lines show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decoded {
    pub pcie: Option<PcieCapability>,
    pub list: CapabilityList,
    pub access: Access,
    pub registers: Registers,
    pub buses: Option<BusRange>,
    pub driver: Option<String>,
    pub link: Link,
    pub virtual_functions: VirtualFunctions,
    /// Device Control 2 is printed, its AtomicOps are not.
    pub lacks_atomic_lines: bool,
}

/// What the words are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Context {
    #[default]
    Other,
    HeaderStatus,
    Flags,
    Bus,
    Capability,
    Register(Which),
    LinkCapable,
    LinkNow,
    /// `Link:` of pciutils 2.x, before `Supported` or `Speed` tells which.
    Link,
    Driver,
    NumberOfVfs,
    VfOffset,
    VfStride,
}

/// A capability's name is not longer.
const NAME_WORDS_AT_MOST: usize = 10;
/// Names of kernel modules are shorter than this.
const DRIVER_NAME_AT_MOST: usize = 64;

/// Reads one function's lines.
#[derive(Debug, Default)]
pub(super) struct StanzaReader<'t> {
    decoded: Decoded,
    context: Context,
    previous: [&'t str; 2],
    capability: Vec<&'t str>,
    place: Place,
    bus: [Option<u8>; 3],
    bus_master_flag: bool,
    status_or_flags: bool,
    capabilities: usize,
    driver_line: bool,
    snipped: bool,
    control_2: bool,
    control_2_atomics: bool,
}

/// Where in the function's lines the words stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeCapabilities,
    Express,
    OtherCapability,
}

impl<'t> StanzaReader<'t> {
    /// Takes in a line, or a part of one.
    pub fn line(&mut self, content: &'t str) {
        for word in content.split_whitespace() {
            self.word(word);
            self.previous = [self.previous[1], word];
        }
    }

    /// A blank line ends what was being said, though not the function.
    pub fn blank_line(&mut self) {
        self.end_capability();
        self.context = Context::Other;
    }

    /// What was read. Where nothing follows, the text may have been cut short.
    pub fn finish(mut self, follows: Follows) -> Decoded {
        self.end_capability();
        let ended_properly = follows == Follows::AnotherFunction || self.driver_line;
        if self.decoded.list == CapabilityList::NotShown
            && self.capabilities > 0
            && self.status_or_flags
            && ended_properly
            && !self.snipped
        {
            self.decoded.list = CapabilityList::Shown;
        }
        if let [Some(primary), Some(secondary), Some(subordinate)] = self.bus {
            self.decoded.buses = Some(BusRange { primary, secondary, subordinate });
        }
        let has_line = |port: PortType| !matches!(port, PortType::PcieToPci | PortType::PciToPcie | PortType::EventCollector);
        self.decoded.lacks_atomic_lines =
            self.control_2 && !self.control_2_atomics && self.decoded.pcie.is_some_and(|pcie| has_line(pcie.port_type));
        self.decoded
    }

    fn word(&mut self, word: &'t str) {
        if matches!(word, "..." | "[...]" | "…" | "[snip]" | "<snip>" | "[trimmed]") {
            self.snipped = true;
        }
        if word.len() > 1 && word.ends_with(':') {
            return self.key(word);
        }
        match self.context {
            Context::Other => {}
            Context::HeaderStatus => match word {
                "Cap-" => self.decoded.list = CapabilityList::Empty,
                "Cap+" => self.status_or_flags = true,
                _ => {}
            },
            Context::Flags => self.flag(word),
            Context::Bus => self.bus(word),
            Context::Capability => self.capability_word(word),
            Context::Register(which) => self.decoded.registers.word(which, word),
            Context::LinkCapable => self.decoded.link.capable.get_or_insert_default().word(word),
            Context::LinkNow => self.decoded.link.now.get_or_insert_default().word(word),
            Context::Link => match word {
                "Supported" => self.context = Context::LinkCapable,
                "Speed" => self.context = Context::LinkNow,
                _ => {}
            },
            Context::Driver => {
                self.decoded.driver.get_or_insert_with(|| word.chars().take(DRIVER_NAME_AT_MOST).collect());
                self.context = Context::Other;
            }
            Context::NumberOfVfs => self.number(word, |functions| &mut functions.number),
            Context::VfOffset => self.number(word, |functions| &mut functions.first_offset),
            Context::VfStride => self.number(word, |functions| &mut functions.stride),
        }
        if word == "Kernel" && self.context == Context::Capability {
            self.end_capability();
        }
    }

    fn key(&mut self, key: &str) {
        self.end_capability();
        let express = self.place == Place::Express;
        let before = self.place == Place::BeforeCapabilities;
        self.context = match key {
            "Control:" if before => Context::Register(Which::Command),
            "Status:" if before => Context::HeaderStatus,
            "Flags:" if before => Context::Flags,
            "Bus:" if before => Context::Bus,
            "Capabilities:" => {
                self.place = Place::OtherCapability;
                Context::Capability
            }
            "DevSta:" if express => Context::Register(Which::DeviceStatus),
            "LnkCap:" if express => Context::LinkCapable,
            "LnkSta:" if express => Context::LinkNow,
            "Link:" if express => Context::Link,
            "DevCtl2:" if express => {
                self.control_2 = true;
                Context::Other
            }
            "AtomicOpsCap:" if express => Context::Register(Which::DeviceCapabilities2),
            "AtomicOpsCtl:" if express => {
                self.control_2_atomics = true;
                Context::Register(Which::DeviceControl2)
            }
            "UESta:" => Context::Register(Which::UncorrectableErrorStatus),
            "use:" if self.previous[1] == "in" && self.previous[0] == "driver" => {
                self.driver_line = true;
                Context::Driver
            }
            "VFs:" if self.previous == ["Number", "of"] => Context::NumberOfVfs,
            "offset:" if self.previous[1] == "VF" => Context::VfOffset,
            "stride:" if self.context == Context::VfOffset => Context::VfStride,
            _ => Context::Other,
        };
    }

    fn flag(&mut self, word: &str) {
        match word {
            "master," if self.previous[1] == "bus" => self.bus_master_flag = true,
            "devsel," | "devsel" => {
                self.status_or_flags = true;
                let set = if self.bus_master_flag { u32::MAX } else { 0 };
                let command = self.decoded.registers.get_mut(Which::Command);
                *command = command.with(reg::COMMAND_BUS_MASTER.into(), set);
            }
            _ => {}
        }
    }

    fn bus(&mut self, word: &str) {
        let Some((name, number)) = word.trim_end_matches(',').split_once('=') else { return };
        let Ok(number) = u8::from_str_radix(number, 16) else { return };
        match name {
            "primary" => self.bus[0] = Some(number),
            "secondary" => self.bus[1] = Some(number),
            "subordinate" => self.bus[2] = Some(number),
            _ => {}
        }
    }

    fn number(&mut self, word: &str, field: impl Fn(&mut VirtualFunctions) -> &mut u16) {
        if let Ok(number) = word.trim_end_matches(',').parse() {
            *field(&mut self.decoded.virtual_functions) = number;
        }
        if self.context != Context::VfOffset {
            self.context = Context::Other;
        }
    }

    fn capability_word(&mut self, word: &'t str) {
        if self.capability.len() < NAME_WORDS_AT_MOST {
            self.capability.push(word);
        }
    }

    fn end_capability(&mut self) {
        if self.context != Context::Capability {
            return;
        }
        self.context = Context::Other;
        let words = std::mem::take(&mut self.capability);
        match words.first() {
            Some(first) if first.starts_with('[') => self.capabilities += 1,
            Some(&("<access" | "&lt;access")) => self.decoded.access = Access::Denied,
            // A web page takes `<access denied>` for a tag and shows nothing.
            _ => self.snipped = true,
        }
        if let Some(capability) = express(&words) {
            // A second one is another function's, whose device line was filtered away.
            if self.decoded.pcie.is_none() {
                self.place = Place::Express;
                self.decoded.pcie = Some(capability);
            }
        }
    }
}

/// What comes after a function's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    AnotherFunction,
    Nothing,
}

/// `[58] Express (v2) Root Port (Slot+), MSI 00`; before pciutils 3.0, and without -vv, there is no version.
fn express(words: &[&str]) -> Option<PcieCapability> {
    let (first, rest) = words.split_first()?;
    let offset = u16::from_str_radix(first.strip_prefix('[')?.trim_end_matches(']'), 16).ok()?;
    // `[a0 v2]`: extended capabilities have their version in the bracket.
    let rest = match rest.split_first() {
        Some((version, rest)) if !first.ends_with(']') && version.ends_with(']') => rest,
        _ => rest,
    };
    let (name, rest) = rest.split_first()?;
    if *name != "Express" || usize::from(offset) >= ConfigSpace::CONVENTIONAL_SIZE || usize::from(offset) < ConfigSpace::HEADER_SIZE
    {
        return None;
    }
    let version = rest.first().and_then(|word| word.strip_prefix("(v")?.strip_suffix(')')?.parse().ok());
    let rest = if rest.first().is_some_and(|word| word.starts_with("(v")) { &rest[1..] } else { rest };
    Some(PcieCapability { offset: ConfigOffset(offset), version, port_type: port_type(rest)? })
}

fn port_type(words: &[&str]) -> Option<PortType> {
    const NAMES: [(&[&str], PortType); 9] = [
        (&["Endpoint"], PortType::Endpoint),
        (&["Legacy", "Endpoint"], PortType::LegacyEndpoint),
        (&["Root", "Port"], PortType::RootPort),
        (&["Upstream", "Port"], PortType::SwitchUpstream),
        (&["Downstream", "Port"], PortType::SwitchDownstream),
        (&["PCI-Express", "to", "PCI/PCI-X", "Bridge"], PortType::PcieToPci),
        (&["PCI/PCI-X", "to", "PCI-Express", "Bridge"], PortType::PciToPcie),
        (&["Root", "Complex", "Integrated", "Endpoint"], PortType::IntegratedEndpoint),
        (&["Root", "Complex", "Event", "Collector"], PortType::EventCollector),
    ];
    let matches = |name: &[&str]| {
        words.len() >= name.len() && name.iter().zip(words).all(|(wanted, word)| word.trim_end_matches(',') == *wanted)
    };
    if let Some((_, port)) = NAMES.iter().find(|(name, _)| matches(name)) {
        return Some(*port);
    }
    let [unknown, kind, number, ..] = words else { return None };
    let number: u8 = number.trim_end_matches(',').parse().ok()?;
    (*unknown == "Unknown" && *kind == "type" && number < 16).then(|| PortType::from_bits(number))
}

/// The link, unless nothing of it is known.
pub(super) fn known_link(link: Link) -> Option<Link> {
    let known = |state: Option<LinkState>| state.filter(|state| *state != LinkState::default());
    let link = Link { capable: known(link.capable), now: known(link.now) };
    (link != Link::default()).then_some(link)
}
