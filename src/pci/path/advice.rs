//! Findings in words, and what to do about them.

use super::{Cause, Finding, Fix, PathCapability};
use crate::pci::{CapabilityError, Hop, PcieReading, PortType, registers as reg};

/// QEMU's generic root port (pcie-root-port), Intel's as QEMU emulates it (ioh3420).
const QEMU_ROOT_PORTS: [(u16, u16); 2] = [(0x1b36, 0x000c), (0x8086, 0x3420)];

/// Whether a root port is one that QEMU emulates.
pub(super) fn is_emulated_by_qemu(hop: &Hop) -> bool {
    hop.vendor_id.zip(hop.device_id).is_some_and(|id| QEMU_ROOT_PORTS.contains(&id))
}

pub(super) fn finding(hop: &Hop, cause: Cause, path: PathCapability) -> Finding {
    Finding { bdf: hop.bdf, cause, sentence: sentence(hop, cause), fix: fix(hop, cause, path) }
}

fn sentence(hop: &Hop, cause: Cause) -> String {
    let (bdf, name, role) = (hop.bdf, &hop.name, hop.role);
    match cause {
        Cause::VirtualFunction => match hop.physical_function {
            Some(physical) => format!("{bdf} is an SR-IOV virtual function: Requester Enable of {physical} governs it."),
            None => format!("{bdf} is an SR-IOV virtual function: its physical function's Requester Enable governs it."),
        },
        Cause::NotPcie => format!("{bdf} ({name}) has no PCI Express capability, so it cannot be allowed to send AtomicOps."),
        Cause::NotAnEndpoint => format!("{bdf} ({name}) shows itself as {role}, for which the kernel enables no AtomicOps."),
        Cause::NoRootPort => format!("There is no root port above {bdf} ({name}) that could complete AtomicOps."),
        Cause::RootPortDoesNotComplete | Cause::EmulatedRootPortDoesNotComplete => {
            let emulated = if cause == Cause::EmulatedRootPortDoesNotComplete { "emulated " } else { "" };
            format!("The {emulated}root port {bdf} ({name}) completes {}; both widths are needed.", completed(hop))
        }
        Cause::NotRouted => format!("The {role} {bdf} ({name}) does not route AtomicOps."),
        Cause::EgressBlocked => {
            format!("The {role} {bdf} ({name}) blocks AtomicOps towards the root (AtomicOp Egress Blocking is set).")
        }
        Cause::NoRequesterRegister => {
            format!("The PCI Express capability of {bdf} ({name}) is version 1, which has no AtomicOp Requester Enable.")
        }
        Cause::RequesterDisabled => format!("AtomicOp Requester Enable is clear in {bdf} ({name}): it may not send AtomicOps."),
        Cause::BusMasterDisabled => format!("Bus Master is clear in {bdf} ({name}): it may send no request at all."),
        Cause::Unreadable => {
            let why = hop.unknown_because.as_deref().unwrap_or("the PCI Express capability is known only in part");
            format!("The registers of {bdf} ({name}) are not known: {why}.")
        }
        Cause::HopsMissing => format!("The hops between {bdf} ({name}) and the root port are not known."),
    }
}

fn completed(hop: &Hop) -> &'static str {
    let completes = |mask| hop.atomic_capabilities().all(mask) == Some(true);
    match (completes(reg::COMPLETER_32), completes(reg::COMPLETER_64)) {
        (false, false) => "no AtomicOps",
        (true, false) => "32-bit AtomicOps only",
        (false, true) => "64-bit AtomicOps only",
        (true, true) => "32-bit and 64-bit AtomicOps",
    }
}

fn fix(hop: &Hop, cause: Cause, path: PathCapability) -> Fix {
    let short = hop.bdf.short();
    let advise = |advice: &str| Fix { command: None, advice: advice.to_owned() };
    let run = |command: String, advice: &str| Fix { command: Some(command), advice: advice.to_owned() };
    match cause {
        Cause::VirtualFunction => advise("Audit the physical function on the host."),
        Cause::NotPcie => advise(
            "In a guest, use the q35 machine and put the GPU behind a pcie-root-port of its own (Proxmox: pcie=1); on bare metal, \
             the kernel hides the capability only from broken firmware: update it.",
        ),
        Cause::NotAnEndpoint if hop.port_type() == Some(PortType::IntegratedEndpoint) => {
            advise("In a guest, move the GPU from the root bus (pcie.0) to a pcie-root-port of its own.")
        }
        Cause::NotAnEndpoint => advise("Name the GPU itself, not a port above it."),
        Cause::NoRootPort => advise(
            "In a guest, use the q35 machine and put the GPU alone behind a pcie-root-port; on bare metal, the platform shows no \
             root port and AtomicOps cannot be enabled.",
        ),
        Cause::RootPortDoesNotComplete => advise(
            "No setting adds completers to a root port: move the card to a slot wired to the CPU, update the firmware, or use a \
             platform whose root ports complete AtomicOps.",
        ),
        Cause::EmulatedRootPortDoesNotComplete => advise(
            "QEMU 8.1 or later on a host kernel 6.5 or later gives the port completers only if the GPU is alone at function 0 of \
             its own pcie-root-port, without multifunction=on (Proxmox: pass one function, not all of them), and has completer \
             bits itself, which Fiji does not. The emulated port decides what the guest's driver enables, not what the hardware \
             does: audit the path on the host, and enable the requester there.",
        ),
        Cause::NotRouted => advise("Move the card to a slot that is not behind this switch, best one wired to the CPU."),
        Cause::EgressBlocked => {
            run(format!("setpci -s {short} CAP_EXP+28.w=0:80"), "Clear the bit; firmware or a driver has set it.")
        }
        Cause::NoRequesterRegister => advise("This device cannot send AtomicOps."),
        Cause::RequesterDisabled => run(
            format!("setpci -s {short} CAP_EXP+28.w=40:40"),
            match path {
                PathCapability::Capable => "Set the bit; amdgpu does so when it probes the GPU itself.",
                PathCapability::Unknown => "Set the bit, if the rest of the path carries AtomicOps.",
                PathCapability::Incapable => "Repair the path first: on this one AtomicOps would be sent and fail.",
            },
        ),
        Cause::BusMasterDisabled => {
            run(format!("setpci -s {short} COMMAND=4:4"), "Set the bit; a driver does so when it takes the device.")
        }
        Cause::Unreadable => advise(match hop.pcie {
            PcieReading::Unknown(CapabilityError::NoAnswer) => "Wake the device, or reseat it and look at dmesg.",
            _ => "Run as root.",
        }),
        Cause::HopsMissing => advise("Dump the bridges too, with `lspci -xxx` as root, or run on the machine itself."),
    }
}
