//! Where an audit's input comes from: a running machine or a captured tree in sysfs' layout, or text.

use super::device::{AuditedDevice, Facts, audit};
use super::dmesg::{Refusal, refusals};
use super::hop::links_from_sysfs;
use crate::kfd::topology::{self, Node};
use crate::pci::dump::{self, DumpError};
use crate::pci::sysfs::{SysfsError, SysfsRoot};
use crate::pci::{Bdf, Completeness, ConfigSpace, Hierarchy, PcieReading};
use serde::Serialize;
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
}

/// Why there is no audit.
#[derive(Debug, Error)]
pub enum AuditError {
    /// Sysfs cannot be read.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// The text cannot be read.
    #[error(transparent)]
    Text(#[from] DumpError),
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
    Ok(Audit { source: Source::Sysfs { root: root.path().to_owned() }, devices })
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
        refusals: context.refusals.clone(),
        notes: privileges(hierarchy).into_iter().collect(),
    }
}

/// amdgpu shows it to everybody, in hexadecimal. The device's own directory is what `class/drm/cardN/device` leads to.
fn mec_firmware(directory: &std::path::Path) -> Option<u32> {
    let text = fs::read_to_string(directory.join("fw_version/mec_fw_version")).ok()?;
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok().filter(|version| *version != 0)
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

/// Audits devices of a text: hex dumps of `lspci -xxx` or `-xxxx`. KFD's refusals in the same text are taken into account.
///
/// # Errors
/// [`AuditError`] when the text cannot be read or does not have the device.
pub fn from_text(text: &str, selection: Selection, context: &Context) -> Result<Audit, AuditError> {
    let functions = dump::read(text)?;
    let selected = match selection {
        Selection::Accelerators => {
            functions.iter().filter(|function| is_accelerator(&function.config)).map(|function| function.bdf).collect()
        }
        Selection::Device(bdf) => vec![bdf],
    };
    let mut refusals = refusals(text);
    refusals.extend(&context.refusals);
    let mut devices = Vec::new();
    for bdf in selected {
        let hierarchy = Hierarchy::from_dump(&functions, &bdf).ok_or_else(|| AuditError::NotInText {
            bdf,
            present: functions.iter().map(|function| function.bdf).collect(),
        })?;
        let notes = match hierarchy.completeness {
            Completeness::Whole => Vec::new(),
            Completeness::Partial => vec!["The text does not show the bridges above the device.".to_owned()],
        };
        devices.extend(audit(&hierarchy, &Facts { refusals: refusals.clone(), notes, ..Facts::default() }));
    }
    Ok(Audit { source: Source::Text, devices })
}

fn is_accelerator(config: &ConfigSpace) -> bool {
    use crate::pci::registers as reg;
    let class = config.u16(reg::CLASS_CODE + reg::CapabilityRegister(1));
    config.u16(reg::VENDOR_ID) == Some(0x1002) && class.is_some_and(|class| class >> 8 == 0x03 || class == 0x1200)
}
