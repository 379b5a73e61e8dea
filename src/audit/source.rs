//! Where an audit's input comes from: a running machine or a captured tree in sysfs' layout, or text.

use super::device::{AuditedDevice, Facts, Origin, audit};
use super::dmesg::{Refusal, refusals};
use super::hop::{Link, links_from_sysfs};
use crate::kfd::topology::{self, Node};
use crate::pci::guest::{Functions, Machine, PlanRequest};
use crate::pci::kernel::KernelVersion;
use crate::pci::lspci::{self, ListedFunction, ListingError};
use crate::pci::sysfs::{SysfsError, SysfsRoot};
use crate::pci::{Bdf, ConfigSpace, Hierarchy, PcieReading, registers as reg};
use serde::Serialize;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use thiserror::Error;

/// Which devices to audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every display controller and processing accelerator of AMD.
    Accelerators,
    /// This one, whoever made it.
    Device(Bdf),
}

/// What the caller knows beside the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// KFD's refusals in the kernel's log.
    pub refusals: Vec<Refusal>,
    /// The kernel whose rule is asked for.
    pub kernel: Option<KernelVersion>,
    /// What kind of machine the input is from.
    pub machine: Option<Machine>,
    /// The virtual machine to forecast for.
    pub guest_plan: Option<PlanRequest>,
}

impl Context {
    fn facts(&self) -> Facts {
        Facts {
            refusals: self.refusals.clone(),
            kernel: self.kernel.clone(),
            machine: self.machine.clone(),
            guest_plan: self.guest_plan.clone(),
            ..Facts::default()
        }
    }
}

/// Where the input came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Source {
    /// A directory in sysfs' layout.
    Sysfs {
        /// Its root.
        root: PathBuf,
    },
    /// Text such as `lspci` prints.
    Text,
}

/// The audited devices of one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Where the input came from.
    pub source: Source,
    /// The devices, in the order of the bus; none when the input has no such device.
    pub devices: Vec<AuditedDevice>,
    /// Remarks on the input as a whole.
    pub notes: Vec<String>,
}

/// Why there is no audit.
#[derive(Debug, Error)]
pub enum AuditError {
    /// Sysfs cannot be read.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// The text cannot be read.
    #[error(transparent)]
    Text(#[from] ListingError),
    /// The device asked for is not in the text.
    #[error("the text has no PCI function {bdf}; it has {}", listed(present))]
    NotInText {
        /// The device.
        bdf: Bdf,
        /// The functions the text has.
        present: Vec<Bdf>,
    },
}

fn listed(present: &[Bdf]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = present.iter().take(SHOWN).map(Bdf::to_string).collect();
    let more = present.len().saturating_sub(SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Audits devices of a machine or of a captured tree.
///
/// # Errors
/// [`AuditError`] when the device is absent or its files cannot be read at all.
pub fn from_sysfs(root: &SysfsRoot, selection: Selection, context: &Context) -> Result<Audit, AuditError> {
    let selected = match selection {
        Selection::Accelerators => root.amd_display_functions()?,
        Selection::Device(bdf) => vec![bdf],
    };
    // A machine without KFD is an answer, not an error; a topology that cannot be read says nothing.
    let nodes = topology::topology(root.path()).unwrap_or_default();
    let mut devices = Vec::new();
    for bdf in selected {
        let hierarchy = root.hierarchy(&bdf)?;
        devices.extend(audit(&hierarchy, &facts_from_sysfs(root, &hierarchy, bdf, &nodes, context)));
    }
    Ok(Audit { source: Source::Sysfs { root: root.path().to_owned() }, devices, notes: Vec::new() })
}

fn facts_from_sysfs(root: &SysfsRoot, hierarchy: &Hierarchy, bdf: Bdf, nodes: &[Node], context: &Context) -> Facts {
    let directory = root.device_dir(&bdf);
    let driver = fs::read_link(directory.join("driver")).ok();
    let address = bdf.to_string();
    Facts {
        driver: driver.and_then(|driver| Some(driver.file_name()?.to_string_lossy().into_owned())),
        links: links_from_sysfs(root, &hierarchy.hops),
        kfd_node: nodes.iter().find(|node| node.pci_address.as_deref() == Some(&address)).cloned(),
        kfd_nodes: nodes.to_vec(),
        mec_firmware: mec_firmware(&directory),
        functions: Functions::of_device(root, &bdf),
        notes: privileges(hierarchy).into_iter().chain(passed_through(&directory)).collect(),
        ..context.facts()
    }
}

/// amdgpu shows it to everybody, in hexadecimal. The device's own directory is what `class/drm/cardN/device` leads to.
fn mec_firmware(directory: &std::path::Path) -> Option<u32> {
    let text = fs::read_to_string(directory.join("fw_version/mec_fw_version")).ok()?;
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok().filter(|version| *version != 0)
}

fn passed_through(directory: &std::path::Path) -> Option<String> {
    let driver = fs::read_link(directory.join("driver")).ok()?;
    driver.ends_with("vfio-pci").then(|| {
        "vfio-pci has the device: its firmware version does not show on the host, and vfio-pci itself may set Requester Enable."
            .to_owned()
    })
}

/// Linux shows the first 64 bytes of config space to everybody and the rest to root.
fn privileges(hierarchy: &Hierarchy) -> Option<String> {
    let is_cut = |reading| {
        use crate::pci::CapabilityError::BeyondKnown;
        matches!(reading, PcieReading::Unknown(BeyondKnown { known: ConfigSpace::HEADER_SIZE, .. }))
    };
    hierarchy.hops.iter().any(|hop| is_cut(hop.pcie)).then(|| {
        "Without root only the first 64 bytes of config space are readable: run with sudo to see routing, completers and Requester \
         Enable."
            .to_owned()
    })
}

/// Audits devices of a text: whatever `lspci` printed. KFD's refusals in the same text are taken into account.
///
/// # Errors
/// [`AuditError`] when the text names no PCI function or does not have the device.
pub fn from_text(text: &str, selection: Selection, context: &Context) -> Result<Audit, AuditError> {
    let listing = lspci::read(text)?;
    let selected = match selection {
        Selection::Accelerators => listing.accelerators(),
        Selection::Device(bdf) => vec![bdf],
    };
    let refused: HashMap<(u16, u16), Refusal> =
        refusals(text).iter().chain(&context.refusals).map(|refusal| ((refusal.vendor_id, refusal.device_id), *refusal)).collect();
    let mut slots: HashMap<(u32, u8, u8), Vec<Bdf>> = HashMap::new();
    for Bdf { domain, bus, device, function } in listing.functions.iter().map(|function| function.bdf) {
        slots.entry((domain, bus, device)).or_default().push(Bdf { domain, bus, device, function });
    }
    let listed: HashMap<Bdf, &ListedFunction> = listing.functions.iter().map(|function| (function.bdf, function)).collect();
    let mut devices = Vec::new();
    for bdf in selected {
        let hierarchy = listing.hierarchy(&bdf).ok_or_else(|| AuditError::NotInText {
            bdf,
            present: listing.functions.iter().map(|function| function.bdf).collect(),
        })?;
        let function = listed.get(&bdf);
        let facts = Facts {
            origin: Origin::Text,
            driver: function.and_then(|function| function.driver.clone()),
            links: hierarchy.hops.iter().map(|hop| listed.get(&hop.bdf)?.link.map(Link::from)).collect(),
            functions: function.and_then(|function| functions(function, slots.get(&(bdf.domain, bdf.bus, bdf.device)))),
            refusals: id(&hierarchy).and_then(|id| refused.get(&id)).copied().into_iter().collect(),
            ..context.facts()
        };
        devices.extend(audit(&hierarchy, &facts));
    }
    Ok(Audit { source: Source::Text, devices, notes: listing.notes.iter().map(ToString::to_string).collect() })
}

fn id(hierarchy: &Hierarchy) -> Option<(u16, u16)> {
    let device = hierarchy.endpoint()?;
    device.vendor_id.zip(device.device_id)
}

/// The device's own header decides; without it another function in its slot does.
fn functions(device: &ListedFunction, slot: Option<&Vec<Bdf>>) -> Option<Functions> {
    let header_type = device.config.as_ref().and_then(|config| config.u8(reg::HEADER_TYPE));
    header_type.map(Functions::from_header_type).or_else(|| Functions::among(slot?.iter().copied(), &device.bdf))
}
