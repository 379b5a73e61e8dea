//! The machine that ROCr finds: a PCI tree and KFD's topology of the same GPU, in one sysfs-shaped directory.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::faults::BlockedHop;
use crate::hsa::embedded::bed::{self, BedError, SYSFS_ENV, Target};
use crate::kfd::topology::LinkAtomics;
use crate::kfd::tree::{self, GpuPlace, GpuShape, HostLinks, TOPOLOGY_IN_SYSFS};
use crate::pci::path::{PathCapability, judge};
use crate::pci::sysfs::{SysfsError, SysfsRoot};
use crate::pci::{Bdf, Hierarchy, registers};

/// The targets that ROCr accepts in model mode and the software GPU executes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelTarget {
    /// Instinct MI300X.
    #[default]
    Gfx942,
    /// Radeon RX 7900 XTX.
    Gfx1100,
}

impl ModelTarget {
    const fn target(self) -> Target {
        match self {
            Self::Gfx942 => Target::Gfx942,
            Self::Gfx1100 => Target::Gfx1100,
        }
    }

    const fn shape(self) -> GpuShape {
        match self {
            Self::Gfx942 => GpuShape::MI300X_PARTITION,
            Self::Gfx1100 => GpuShape::NAVI_31,
        }
    }
}

/// AtomicOp Requester Enable of the GPU before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequesterAtStart {
    /// Clear, as the founding machine was found.
    AsFound,
    /// Set, as a driver leaves it on a path that carries AtomicOps.
    Enabled,
}

/// Why the machine cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The PCI tree.
    #[error(transparent)]
    Tree(#[from] BedError),
    /// The PCI tree cannot be read back.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// The topology.
    #[error(transparent)]
    Topology(#[from] tree::WriteError),
    /// AtomicOps cannot be enabled.
    #[error("AtomicOp Requester Enable of the modelled GPU cannot be set in {}: {source}", path.display())]
    Requester {
        /// The config file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A machine in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMachine {
    /// Root of the sysfs-shaped tree.
    pub sysfs_root: PathBuf,
    /// KFD's topology in it.
    pub topology: PathBuf,
    /// The GPU.
    pub endpoint: Bdf,
}

impl ModelMachine {
    /// Writes the machine with a GPU of this target into `directory`.
    ///
    /// The link flags of the topology say what the *path* carries, as KFD finds it when the driver probes the GPU. Switching the
    /// requester afterwards does not change them: see [`tree`].
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn prepare(directory: &Path, target: ModelTarget, requester: RequesterAtStart) -> Result<Self, MachineError> {
        Self::prepare_blocked(directory, target, requester, None)
    }

    /// As [`Self::prepare`], with a hop in the way of AtomicOps.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn prepare_blocked(
        directory: &Path,
        target: ModelTarget,
        requester: RequesterAtStart,
        blocked: Option<BlockedHop>,
    ) -> Result<Self, MachineError> {
        let bed::PreparedBed { sysfs_root, endpoint } = bed::prepare_target(directory, target.target(), blocked)?;
        let sysfs = SysfsRoot::new(&sysfs_root);
        let hierarchy = sysfs.hierarchy(&endpoint)?;
        let topology = sysfs_root.join(TOPOLOGY_IN_SYSFS);
        tree::write(&topology, &target.shape(), place(endpoint), links(&hierarchy))?;
        if requester == RequesterAtStart::Enabled {
            enable(&sysfs.config_file(&endpoint), &hierarchy)?;
        }
        Ok(Self { sysfs_root, topology, endpoint })
    }

    /// What a process that is to find the machine has in its environment; `model` is the library that is the GPU.
    #[must_use]
    pub fn environment(&self, model: &Path) -> Vec<(String, OsString)> {
        vec![
            ("HSA_MODEL_TOPOLOGY".to_owned(), self.topology.clone().into()),
            ("HSA_MODEL_LIB".to_owned(), model.into()),
            (SYSFS_ENV.to_owned(), self.sysfs_root.clone().into()),
        ]
    }
}

fn place(endpoint: Bdf) -> GpuPlace {
    let location = u32::from(endpoint.bus) << 8 | u32::from(endpoint.device) << 3 | u32::from(endpoint.function);
    GpuPlace { domain: endpoint.domain, location_id: location }
}

fn links(hierarchy: &Hierarchy) -> HostLinks {
    let to_host = match judge(hierarchy).path {
        PathCapability::Capable => LinkAtomics::Both,
        PathCapability::Incapable | PathCapability::Unknown => LinkAtomics::Neither,
    };
    let completes = |bit| hierarchy.endpoint().is_some_and(|gpu| gpu.atomic_capabilities().all(bit) == Some(true));
    let to_gpu = match (completes(registers::COMPLETER_32), completes(registers::COMPLETER_64)) {
        (true, true) => LinkAtomics::Both,
        (true, false) => LinkAtomics::Only32,
        (false, true) => LinkAtomics::Only64,
        (false, false) => LinkAtomics::Neither,
    };
    HostLinks { to_host, to_gpu }
}

fn enable(config: &Path, hierarchy: &Hierarchy) -> Result<(), MachineError> {
    use crate::pci::PcieReading;
    let failed = |source| MachineError::Requester { path: config.to_owned(), source };
    let register = match hierarchy.endpoint().map(|gpu| &gpu.pcie) {
        Some(PcieReading::Present(capability)) => capability.devctl2(),
        _ => None,
    };
    let mut bytes = fs::read(config).map_err(failed)?;
    let low = register.and_then(|at| bytes.get_mut(usize::from(at.0)));
    let low = low.ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, "it has no Device Control 2")))?;
    *low |= registers::REQUESTER_ENABLE.to_le_bytes()[0];
    fs::write(config, bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kfd::topology::{LinkKind, topology};
    use crate::pci::path::EnableBit;
    use crate::pci::tree::{BridgeImage, BusNumbers, ClassCode, Completers, EndpointImage, LinkSpeed, TreeBuilder};
    use crate::pci::{PortType, dump};

    #[test]
    fn tree_and_topology_show_the_same_gpu_at_the_same_address() {
        for (target, gfx) in [(ModelTarget::Gfx942, "gfx942"), (ModelTarget::Gfx1100, "gfx1100")] {
            let directory = tempfile::tempdir().unwrap();
            let machine = ModelMachine::prepare(directory.path(), target, RequesterAtStart::AsFound).unwrap();
            let nodes = topology(&machine.sysfs_root).unwrap();
            assert_eq!(nodes[1].target.unwrap().to_string(), gfx);
            assert_eq!(nodes[1].pci_address.as_deref(), Some(machine.endpoint.to_string().as_str()));
            assert_eq!(SysfsRoot::new(&machine.sysfs_root).amd_display_functions().unwrap(), [machine.endpoint]);
        }
    }

    fn written(requester: RequesterAtStart) -> (EnableBit, LinkAtomics) {
        let directory = tempfile::tempdir().unwrap();
        let machine = ModelMachine::prepare(directory.path(), ModelTarget::Gfx942, requester).unwrap();
        let hierarchy = SysfsRoot::new(&machine.sysfs_root).hierarchy(&machine.endpoint).unwrap();
        let link = topology(&machine.sysfs_root).unwrap()[1].links[0];
        assert_eq!((link.to, link.kind), (0, LinkKind::Pcie));
        (judge(&hierarchy).requester, link.atomics)
    }

    #[test]
    fn the_link_flags_follow_the_path_and_not_the_requester() {
        assert_eq!(written(RequesterAtStart::AsFound), (EnableBit::Disabled, LinkAtomics::Both));
        assert_eq!(written(RequesterAtStart::Enabled), (EnableBit::Enabled, LinkAtomics::Both));
    }

    fn links_behind(completers: Completers, gpu: crate::pci::ConfigSpace) -> HostLinks {
        let directory = tempfile::tempdir().unwrap();
        let buses = BusNumbers { primary: 0, secondary: 0x0b, subordinate: 0x0b };
        let endpoint: Bdf = "0b:00.0".parse().unwrap();
        TreeBuilder::new(directory.path())
            .root_port("00:03.0".parse().unwrap(), BridgeImage::root_port(buses).completers(completers).build())
            .endpoint(endpoint, gpu)
            .write()
            .unwrap();
        links(&SysfsRoot::new(directory.path()).hierarchy(&endpoint).unwrap())
    }

    #[test]
    fn a_root_port_without_completers_takes_no_atomics_and_a_gpu_without_completers_neither() {
        let navi = EndpointImage {
            id: (0x1002, 0x744c),
            revision: 0,
            class: ClassCode::VGA,
            port_type: PortType::LegacyEndpoint,
            link: LinkSpeed::Gt16,
        };
        assert_eq!(
            links_behind(Completers::Neither, navi.build()),
            HostLinks { to_host: LinkAtomics::Neither, to_gpu: LinkAtomics::Both }
        );
        let fiji = dump::read(include_str!("../../tests/data/lspci/01-fiji-before.txt")).unwrap().remove(0).config;
        assert_eq!(links_behind(Completers::Both, fiji), HostLinks { to_host: LinkAtomics::Both, to_gpu: LinkAtomics::Neither });
    }

    #[test]
    fn the_environment_names_topology_model_and_tree() {
        let directory = tempfile::tempdir().unwrap();
        let machine = ModelMachine::prepare(directory.path(), ModelTarget::Gfx1100, RequesterAtStart::AsFound).unwrap();
        let environment = machine.environment(Path::new("/x/libaqlprobe.so"));
        let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["HSA_MODEL_TOPOLOGY", "HSA_MODEL_LIB", "AQLPROBE_MODEL_SYSFS"]);
        assert!(Path::new(&environment[0].1).join("nodes/1/properties").is_file());
    }
}
