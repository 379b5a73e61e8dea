//! Offsets and bits of the registers this project reads, with the names of the PCI Express Base Specification.

use super::config::ConfigOffset;

/// Byte offset of a register from the start of its capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapabilityRegister(pub u16);

/// Vendor ID (16 bits).
pub const VENDOR_ID: ConfigOffset = ConfigOffset(0x00);
/// Device ID (16 bits).
pub const DEVICE_ID: ConfigOffset = ConfigOffset(0x02);
/// Command register (16 bits).
pub const COMMAND: ConfigOffset = ConfigOffset(0x04);
/// Command: Memory Space Enable. Without it a function answers no access to its BARs (PCIe 7.5.1.1.3).
pub const COMMAND_MEMORY: u16 = 0x0002;
/// Command: Bus Master Enable. Without it a function may send no request at all (PCIe 7.5.1.1.3).
pub const COMMAND_BUS_MASTER: u16 = 0x0004;
/// Status register (16 bits).
pub const STATUS: ConfigOffset = ConfigOffset(0x06);
/// Status: the function has a capability list.
pub const STATUS_CAPABILITIES_LIST: u16 = 0x0010;
/// Revision ID (8 bits).
pub const REVISION_ID: ConfigOffset = ConfigOffset(0x08);
/// Class code: programming interface (8 bits), then sub-class and base class.
pub const CLASS_CODE: ConfigOffset = ConfigOffset(0x09);
/// Header type (8 bits).
pub const HEADER_TYPE: ConfigOffset = ConfigOffset(0x0e);
/// Header type: layout of the header (0 function, 1 bridge, 2 CardBus bridge).
pub const HEADER_TYPE_LAYOUT: u8 = 0x7f;
/// Header type: the device has more than one function.
pub const HEADER_TYPE_MULTI_FUNCTION: u8 = 0x80;
/// Layout of a PCI-PCI bridge's header, which root ports and switch ports have too.
pub const LAYOUT_BRIDGE: u8 = 1;
/// Layout of a CardBus bridge's header.
pub const LAYOUT_CARDBUS: u8 = 2;
/// Bridge: number of the bus above it (8 bits).
pub const PRIMARY_BUS: ConfigOffset = ConfigOffset(0x18);
/// Bridge: number of the bus right below it (8 bits).
pub const SECONDARY_BUS: ConfigOffset = ConfigOffset(0x19);
/// Bridge: highest bus number below it (8 bits).
pub const SUBORDINATE_BUS: ConfigOffset = ConfigOffset(0x1a);
/// Pointer to the first capability (8 bits).
pub const CAPABILITIES_POINTER: ConfigOffset = ConfigOffset(0x34);
/// Pointer to the first capability in a CardBus bridge (8 bits).
pub const CARDBUS_CAPABILITIES_POINTER: ConfigOffset = ConfigOffset(0x14);

/// Capability ID of the PCI Express capability.
pub const PCIE_CAP_ID: u8 = 0x10;
/// PCI Express Capabilities register (16 bits): version and port type.
pub const PCIE_CAPABILITIES: CapabilityRegister = CapabilityRegister(0x02);
/// Device Status (16 bits).
pub const DEVSTA: CapabilityRegister = CapabilityRegister(0x0a);
/// Device Status: an Unsupported Request was received; works without AER.
pub const UNSUPPORTED_REQUEST_DETECTED: u16 = 0x0008;
/// Device Capabilities 2 (32 bits); exists from capability version 2 on (PCIe 7.5.3.15).
pub const DEVCAP2: CapabilityRegister = CapabilityRegister(0x24);
/// Device Control 2 (16 bits); exists from capability version 2 on (PCIe 7.5.3.16).
pub const DEVCTL2: CapabilityRegister = CapabilityRegister(0x28);
/// DevCap2: AtomicOps may pass through this port.
pub const ATOMIC_ROUTING: u32 = 0x0040;
/// DevCap2: completes 32-bit AtomicOps.
pub const COMPLETER_32: u32 = 0x0080;
/// DevCap2: completes 64-bit AtomicOps.
pub const COMPLETER_64: u32 = 0x0100;
/// DevCap2: completes 128-bit compare-and-swap.
pub const COMPLETER_128: u32 = 0x0200;
/// DevCtl2: AtomicOp Requester Enable. The function may send AtomicOps.
pub const REQUESTER_ENABLE: u16 = 0x0040;
/// DevCtl2: AtomicOp Egress Blocking. AtomicOps may not leave through this port.
pub const EGRESS_BLOCK: u16 = 0x0080;

/// Start of extended config space.
pub const EXTENDED_CAPABILITIES: ConfigOffset = ConfigOffset(0x100);
/// Extended capability ID of Advanced Error Reporting.
pub const AER_CAP_ID: u16 = 0x0001;
/// AER: Uncorrectable Error Status (32 bits, PCIe 7.8.4.2).
pub const AER_UNCORRECTABLE_STATUS: CapabilityRegister = CapabilityRegister(0x04);
/// AER uncorrectable: Unsupported Request.
pub const AER_UNSUPPORTED_REQUEST: u32 = 0x0010_0000;
/// AER uncorrectable: AtomicOp Egress Blocked.
pub const AER_ATOMIC_EGRESS_BLOCKED: u32 = 0x0100_0000;
