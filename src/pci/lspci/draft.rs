//! What a text says of one function, put together from all its parts.

use super::header::Identity;
use super::stanza::{CapabilityList, Decoded, Registers, VirtualFunctions, Which, known_link};
use super::{Access, BusRange, Link, ListedFunction, Note, RegisterField};
use crate::pci::hierarchy::{name, role};
use crate::pci::registers as reg;
use crate::pci::{Bdf, CapabilityError, ConfigOffset, ConfigSpace, Hop, PcieCapability, PcieReading};

/// Where the description of a function comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    DeviceLine,
    Tree,
}

/// What the text has said of a function so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub bdf: Bdf,
    pub above: Option<Bdf>,
    pub description: String,
    pub named_by: NamedBy,
    pub decoded: Decoded,
    pub config: Option<ConfigSpace>,
}

impl VirtualFunctions {
    /// The addresses of the virtual functions. Bounded: a physical function has no more than 256 in any device known.
    pub fn below(self, physical: Bdf) -> impl Iterator<Item = Bdf> {
        let own = u16::from_be_bytes([physical.bus, physical.device << 3 | physical.function]);
        let first = (self.first_offset != 0).then(|| own.wrapping_add(self.first_offset));
        (0..self.number.min(256)).filter_map(move |index| {
            let [bus, device_function] = first?.wrapping_add(index.wrapping_mul(self.stride)).to_be_bytes();
            Some(Bdf { domain: physical.domain, bus, device: device_function >> 3, function: device_function & 7 })
        })
    }
}

impl Decoded {
    /// Takes what an earlier part of the text shows and this does not; gives back the fields in which both differ.
    pub fn complete_from(&mut self, earlier: Self) -> Vec<RegisterField> {
        let mut differing = self.registers.complete_from(&earlier.registers);
        match (&mut self.pcie, earlier.pcie) {
            (Some(now), Some(before)) => {
                if (now.offset, now.port_type) != (before.offset, before.port_type) {
                    differing.push(RegisterField::PcieCapability);
                }
                now.version = now.version.or(before.version);
            }
            (now, before) => *now = now.or(before),
        }
        if self.list == CapabilityList::NotShown {
            self.list = earlier.list;
        }
        if self.access == Access::NotRefused && self.pcie.is_none() {
            self.access = earlier.access;
        }
        self.buses = self.buses.or(earlier.buses);
        self.driver = self.driver.take().or(earlier.driver);
        self.link.capable = self.link.capable.or(earlier.link.capable);
        self.link.now = self.link.now.or(earlier.link.now);
        self.lacks_atomic_lines |= earlier.lacks_atomic_lines && self.pcie.is_none();
        if self.virtual_functions.number == 0 {
            self.virtual_functions = earlier.virtual_functions;
        }
        differing
    }
}

impl Draft {
    pub fn new(bdf: Bdf) -> Self {
        Self { bdf, above: None, description: String::new(), named_by: NamedBy::Tree, decoded: Decoded::default(), config: None }
    }

    /// Puts together what the text and its rows say.
    pub fn close(self, notes: &mut Vec<Note>) -> ListedFunction {
        let Self { bdf, description, named_by, decoded, config, .. } = self;
        let identity = match named_by {
            NamedBy::DeviceLine => Identity::of_function(&description),
            NamedBy::Tree => Identity::of_tree(&description),
        };
        let from_config = config.as_ref().map(|config| (config, buses_in(config)));
        let class_in_rows = config.as_ref().and_then(|config| config.u16(ConfigOffset(reg::CLASS_CODE.0 + 1)));
        let class = class_in_rows.or(identity.class);
        let buses = from_config.and_then(|(_, buses)| buses).or(decoded.buses);
        let text = hop_of_text(bdf, &identity, class, buses, &decoded);
        let hop = match &config {
            Some(config) => with_rows(Hop::read(bdf, config), text, notes),
            None => text,
        };
        let link_in_rows = config.as_ref().zip(present(hop.pcie)).and_then(|(config, pcie)| Link::from_config(config, pcie));
        ListedFunction {
            bdf,
            description,
            class,
            link: known_link(link_in_rows.unwrap_or(decoded.link)),
            hop,
            buses,
            driver: decoded.driver,
            access: decoded.access,
            config,
        }
    }
}

fn present(pcie: PcieReading) -> Option<PcieCapability> {
    match pcie {
        PcieReading::Present(capability) => Some(capability),
        PcieReading::Absent | PcieReading::Unknown(_) => None,
    }
}

fn buses_in(config: &ConfigSpace) -> Option<BusRange> {
    if config.header_layout() != Some(reg::LAYOUT_BRIDGE) {
        return None;
    }
    Some(BusRange {
        primary: config.u8(reg::PRIMARY_BUS)?,
        secondary: config.u8(reg::SECONDARY_BUS)?,
        subordinate: config.u8(reg::SUBORDINATE_BUS)?,
    })
}

fn hop_of_text(bdf: Bdf, identity: &Identity, class: Option<u16>, buses: Option<BusRange>, decoded: &Decoded) -> Hop {
    let pcie = match (decoded.pcie, decoded.access, decoded.list) {
        (Some(capability), ..) => PcieReading::Present(capability),
        (None, _, CapabilityList::Empty) | (None, Access::NotRefused, CapabilityList::Shown) => PcieReading::Absent,
        (None, ..) => PcieReading::Unknown(CapabilityError::NotInText),
    };
    let layout = match (buses, class) {
        (Some(_), _) | (_, Some(0x0604)) => Some(reg::LAYOUT_BRIDGE),
        _ => Some(0),
    };
    let by_number = || name(identity.vendor_id, identity.device_id);
    let registers = &decoded.registers;
    let atomics_missing = decoded.lacks_atomic_lines.then(|| {
        "the text has no AtomicOps lines, as lspci before 3.5.3 prints none; take it with a newer lspci, or with `lspci -xxx` as root"
            .to_owned()
    });
    Hop {
        bdf,
        role: role(pcie, layout),
        name: if identity.name.is_empty() || identity.device_id.is_some() { by_number() } else { identity.name.clone() },
        vendor_id: identity.vendor_id,
        device_id: identity.device_id,
        physical_function: None,
        pcie,
        command: registers.get(Which::Command),
        device_status: registers.get(Which::DeviceStatus),
        device_capabilities_2: registers.get(Which::DeviceCapabilities2),
        device_control_2: registers.get(Which::DeviceControl2),
        uncorrectable_error_status: registers.get(Which::UncorrectableErrorStatus),
        unknown_because: match (pcie, decoded.access) {
            (PcieReading::Unknown(_), Access::Denied) => {
                Some("lspci was not allowed to read its capabilities (<access denied>); take the text again as root".to_owned())
            }
            (PcieReading::Unknown(error), Access::NotRefused) => Some(error.to_string()),
            _ => atomics_missing,
        },
    }
}

/// The rows decide; the text fills what they do not reach.
fn with_rows(mut rows: Hop, text: Hop, notes: &mut Vec<Note>) -> Hop {
    let bdf = rows.bdf;
    let mut contradicts = |field| notes.push(Note::RowsContradictText { bdf, field });
    match (rows.pcie, text.pcie) {
        (PcieReading::Unknown(_), PcieReading::Present(_) | PcieReading::Absent) => {
            rows.pcie = text.pcie;
            rows.role = text.role;
            rows.unknown_because = text.unknown_because.clone();
        }
        (PcieReading::Present(rows), PcieReading::Present(text))
            if (rows.offset, rows.port_type) != (text.offset, text.port_type)
                || text.version.is_some_and(|version| Some(version) != rows.version) =>
        {
            contradicts(RegisterField::PcieCapability);
        }
        (PcieReading::Absent, PcieReading::Present(_)) | (PcieReading::Present(_), PcieReading::Absent) => {
            contradicts(RegisterField::PcieCapability);
        }
        _ => {}
    }
    let mut registers = registers_of(&rows);
    registers.complete_from(&registers_of(&text)).into_iter().for_each(contradicts);
    rows.command = registers.get(Which::Command);
    rows.device_status = registers.get(Which::DeviceStatus);
    rows.device_capabilities_2 = registers.get(Which::DeviceCapabilities2);
    rows.device_control_2 = registers.get(Which::DeviceControl2);
    rows.uncorrectable_error_status = registers.get(Which::UncorrectableErrorStatus);
    if rows.vendor_id.is_none() {
        (rows.vendor_id, rows.device_id, rows.name) = (text.vendor_id, text.device_id, text.name);
    }
    rows
}

fn registers_of(hop: &Hop) -> Registers {
    let mut registers = Registers::default();
    *registers.get_mut(Which::Command) = hop.command;
    *registers.get_mut(Which::DeviceStatus) = hop.device_status;
    *registers.get_mut(Which::DeviceCapabilities2) = hop.device_capabilities_2;
    *registers.get_mut(Which::DeviceControl2) = hop.device_control_2;
    *registers.get_mut(Which::UncorrectableErrorStatus) = hop.uncorrectable_error_status;
    registers
}
