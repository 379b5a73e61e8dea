//! Writes a topology directory as KFD lays it out in sysfs, for a machine that exists in software only: one CPU node and one
//! GPU node, with a PCI Express link in each direction.
//!
//! AMD's runtime in model mode reads such a directory in place of `/sys/class/kfd/kfd/topology` (ROCr `libhsakmt/src/topology.c`,
//! `HSA_MODEL_TOPOLOGY`); [`super::topology`] reads it back.
//!
//! **Link flags.** KFD decides them once, when the driver probes the GPU: the link to the host says that it takes no AtomicOps
//! where the driver could not enable them on the path (Linux `kfd_topology.c`, `kfd_set_iolink_no_atomics`). A bit that is
//! switched afterwards changes nothing here, on hardware as in this writer: the flags follow the *path*, not the state of
//! AtomicOp Requester Enable during a run.

use super::gfx::GfxTarget;
use super::topology::LinkAtomics;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Below a sysfs root, the directory that KFD's topology is in.
pub const TOPOLOGY_IN_SYSFS: &str = "class/kfd/kfd/topology";

const AMD: u32 = 0x1002;
/// PCI Express, as the type of a link.
const PCIE: u64 = 2;
/// What KFD gives a link over PCI Express as weight.
const PCIE_WEIGHT: u64 = 20;
/// `capability`: doorbells of 64 bits (type 2 in bits 13:12) and four watch points (bit 7, their number's logarithm in 11:8).
const CAPABILITY: u64 = 2 << 12 | 2 << 8 | 1 << 7;
/// Minor number of the first render node.
const FIRST_RENDER_MINOR: u64 = 128;
/// `heap_type` of system memory and of a GPU's local memory, the half of it that the CPU does not see.
const HEAP_SYSTEM: u64 = 0;
const HEAP_LOCAL: u64 = 1;
/// `type` of a data cache of SIMDs.
const SIMD_DATA_CACHE: u64 = 1 << 0 | 1 << 3;
const GIB: u64 = 1 << 30;

/// What a GPU's compute part consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuShape {
    target: GfxTarget,
    device_id: u32,
    family: u64,
    compute_units: u64,
    simds_per_unit: u64,
    waves_per_simd: u64,
    lanes: u64,
    engines: u64,
    arrays_per_engine: u64,
    units_per_array: u64,
    shader_mhz: u64,
    memory_bytes: u64,
    memory_bits: u64,
    memory_mhz: u64,
    caches: [Cache; 2],
    cache_line_bytes: u64,
    mec_firmware: u64,
    sdma_firmware: u64,
    link_mb_per_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cache {
    level: u64,
    kib: u64,
}

impl GpuShape {
    /// One of the eight partitions that an Instinct MI300X shows in CPX mode: one die with 38 compute units.
    ///
    /// Its firmware version stays below the one from which ROCr hands scratch memory out asynchronously, because a packet
    /// processor has to offer that.
    pub const MI300X_PARTITION: Self = Self {
        target: GfxTarget { major: 9, minor: 4, stepping: 2 },
        device_id: 0x74a1,
        family: 141,
        compute_units: 38,
        simds_per_unit: 4,
        waves_per_simd: 8,
        lanes: 64,
        engines: 4,
        arrays_per_engine: 1,
        units_per_array: 10,
        shader_mhz: 2100,
        memory_bytes: 24 * GIB,
        memory_bits: 1024,
        memory_mhz: 1300,
        caches: [Cache { level: 1, kib: 32 }, Cache { level: 2, kib: 4096 }],
        cache_line_bytes: 128,
        mec_firmware: 100,
        sdma_firmware: 22,
        link_mb_per_s: 64_000,
    };

    /// A Radeon RX 7900 XTX: 96 compute units in six engines of two arrays.
    pub const NAVI_31: Self = Self {
        target: GfxTarget { major: 11, minor: 0, stepping: 0 },
        device_id: 0x744c,
        family: 145,
        compute_units: 96,
        simds_per_unit: 2,
        waves_per_simd: 16,
        lanes: 32,
        engines: 6,
        arrays_per_engine: 2,
        units_per_array: 8,
        shader_mhz: 2304,
        memory_bytes: 24 * GIB,
        memory_bits: 384,
        memory_mhz: 1249,
        caches: [Cache { level: 1, kib: 32 }, Cache { level: 2, kib: 6144 }],
        cache_line_bytes: 128,
        mec_firmware: 526,
        sdma_firmware: 21,
        link_mb_per_s: 32_000,
    };

    /// Its target.
    #[must_use]
    pub const fn target(&self) -> GfxTarget {
        self.target
    }

    fn simds(&self) -> u64 {
        self.compute_units * self.simds_per_unit
    }
}

/// Where a GPU is on PCI, as KFD numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuPlace {
    /// PCI domain.
    pub domain: u32,
    /// Bus in bits 15:8, device in 7:3, function in 2:0.
    pub location_id: u32,
}

/// Which AtomicOps the links between host and GPU take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLinks {
    /// From the GPU to host memory: whether the driver could enable AtomicOps on the path.
    pub to_host: LinkAtomics,
    /// From the host to the GPU's memory: whether the GPU completes AtomicOps.
    pub to_gpu: LinkAtomics,
}

/// A file or directory of the topology cannot be written.
#[derive(Debug, Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    /// Which.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Number of the CPU node.
const HOST_NODE: u64 = 0;
/// Number of the GPU node. KFD's id of it is free to choose; ROCr's model mode wants the number plus one.
const GPU_NODE: u64 = 1;
const GPU_ID: u64 = GPU_NODE + 1;
/// KFD numbers the SIMDs of the first GPU from here.
const SIMD_ID_BASE: u64 = 0x8000_1000;

/// Writes the topology into `directory`, which is created.
///
/// # Errors
/// [`WriteError`].
pub fn write(directory: &Path, gpu: &GpuShape, place: GpuPlace, links: HostLinks) -> Result<(), WriteError> {
    let files = Files(directory);
    files.text("generation_id", "2\n")?;
    files.properties("system_properties", &[("platform_oem", 0), ("platform_id", 0), ("platform_rev", 0)])?;
    write_host(&files, gpu, links)?;
    write_gpu(&files, gpu, place, links)
}

fn write_host(files: &Files<'_>, gpu: &GpuShape, links: HostLinks) -> Result<(), WriteError> {
    let node = |name: &str| format!("nodes/{HOST_NODE}/{name}");
    files.text(&node("gpu_id"), "0\n")?;
    files.text(&node("name"), "\n")?;
    let properties = [
        ("cpu_cores_count", 2),
        ("simd_count", 0),
        ("mem_banks_count", 1),
        ("caches_count", 0),
        ("io_links_count", 1),
        ("p2p_links_count", 0),
        ("cpu_core_id_base", 0),
        ("simd_id_base", 0),
        ("max_waves_per_simd", 0),
        ("capability", 0),
    ];
    files.properties(&node("properties"), &properties)?;
    let bank = [("heap_type", HEAP_SYSTEM), ("size_in_bytes", 8 * GIB), ("flags", 0), ("width", 64), ("mem_clk_max", 2400)];
    files.properties(&node("mem_banks/0/properties"), &bank)?;
    files.properties(&node("io_links/0/properties"), &link(HOST_NODE, GPU_NODE, gpu, links.to_gpu))
}

fn write_gpu(files: &Files<'_>, gpu: &GpuShape, place: GpuPlace, links: HostLinks) -> Result<(), WriteError> {
    let node = |name: &str| format!("nodes/{GPU_NODE}/{name}");
    files.text(&node("gpu_id"), &format!("{GPU_ID}\n"))?;
    files.text(&node("name"), "ip discovery\n")?;
    let GfxTarget { major, minor, stepping } = gpu.target;
    let properties = [
        ("cpu_cores_count", 0),
        ("simd_count", gpu.simds()),
        ("mem_banks_count", 1),
        ("caches_count", gpu.caches.len() as u64),
        ("io_links_count", 1),
        ("p2p_links_count", 0),
        ("cpu_core_id_base", 0),
        ("simd_id_base", SIMD_ID_BASE),
        ("max_waves_per_simd", gpu.waves_per_simd),
        ("lds_size_in_kb", 64),
        ("gds_size_in_kb", 0),
        ("num_gws", 64),
        ("wave_front_size", gpu.lanes),
        ("array_count", gpu.engines * gpu.arrays_per_engine),
        ("simd_arrays_per_engine", gpu.arrays_per_engine),
        ("cu_per_simd_array", gpu.units_per_array),
        ("simd_per_cu", gpu.simds_per_unit),
        ("max_slots_scratch_cu", 32),
        ("gfx_target_version", u64::from(major) * 10_000 + u64::from(minor) * 100 + u64::from(stepping)),
        ("vendor_id", u64::from(AMD)),
        ("device_id", u64::from(gpu.device_id)),
        ("location_id", u64::from(place.location_id)),
        ("domain", u64::from(place.domain)),
        ("drm_render_minor", FIRST_RENDER_MINOR),
        ("hive_id", 0),
        ("num_sdma_engines", 2),
        ("num_sdma_xgmi_engines", 0),
        ("num_sdma_queues_per_engine", 8),
        ("num_cp_queues", 24),
        ("max_engine_clk_fcompute", gpu.shader_mhz),
        ("local_mem_size", 0),
        ("fw_version", gpu.mec_firmware),
        ("capability", CAPABILITY),
        ("capability2", 0),
        ("debug_prop", 0),
        ("sdma_fw_version", gpu.sdma_firmware),
        ("unique_id", 0),
        ("num_xcc", 1),
        ("family_id", gpu.family),
        ("max_engine_clk_ccompute", 2400),
    ];
    files.properties(&node("properties"), &properties)?;
    let bank = [
        ("heap_type", HEAP_LOCAL),
        ("size_in_bytes", gpu.memory_bytes),
        ("flags", 0),
        ("width", gpu.memory_bits),
        ("mem_clk_max", gpu.memory_mhz),
    ];
    files.properties(&node("mem_banks/0/properties"), &bank)?;
    for (index, cache) in gpu.caches.iter().enumerate() {
        write_cache(files, &node(&format!("caches/{index}/properties")), gpu, *cache)?;
    }
    files.properties(&node("io_links/0/properties"), &link(GPU_NODE, HOST_NODE, gpu, links.to_host))
}

fn write_cache(files: &Files<'_>, name: &str, gpu: &GpuShape, cache: Cache) -> Result<(), WriteError> {
    let properties = [
        ("processor_id_low", SIMD_ID_BASE),
        ("level", cache.level),
        ("size", cache.kib),
        ("cache_line_size", gpu.cache_line_bytes),
        ("cache_lines_per_tag", 1),
        ("association", 16),
        ("latency", 0),
        ("type", SIMD_DATA_CACHE),
    ];
    let siblings = (0..256).map(|simd| if simd < gpu.simds() { "1" } else { "0" }).collect::<Vec<_>>().join(",");
    files.text(name, &format!("{}sibling_map {siblings}\n", text(&properties)))
}

fn link(from: u64, to: u64, gpu: &GpuShape, atomics: LinkAtomics) -> [(&'static str, u64); 13] {
    [
        ("type", PCIE),
        ("version_major", 0),
        ("version_minor", 0),
        ("node_from", from),
        ("node_to", to),
        ("weight", PCIE_WEIGHT),
        ("min_latency", 0),
        ("max_latency", 0),
        ("min_bandwidth", gpu.link_mb_per_s),
        ("max_bandwidth", gpu.link_mb_per_s),
        ("recommended_transfer_size", 0),
        ("recommended_sdma_engine_id_mask", 0),
        ("flags", atomics.flags()),
    ]
}

fn text(properties: &[(&str, u64)]) -> String {
    properties.iter().map(|(name, value)| format!("{name} {value}\n")).collect()
}

struct Files<'a>(&'a Path);

impl Files<'_> {
    fn properties(&self, name: &str, properties: &[(&str, u64)]) -> Result<(), WriteError> {
        self.text(name, &text(properties))
    }

    fn text(&self, name: &str, text: &str) -> Result<(), WriteError> {
        let path = self.0.join(name);
        let directory = path.parent().unwrap_or(self.0);
        fs::create_dir_all(directory)
            .map_err(|source| WriteError { path: directory.to_owned(), source })
            .and_then(|()| fs::write(&path, text).map_err(|source| WriteError { path: path.clone(), source }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::{Link, LinkKind, topology};
    use super::*;

    const PLACE: GpuPlace = GpuPlace { domain: 1, location_id: 0x0b00 };
    const BOTH: HostLinks = HostLinks { to_host: LinkAtomics::Both, to_gpu: LinkAtomics::Both };

    fn written(gpu: &GpuShape, links: HostLinks) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join(TOPOLOGY_IN_SYSFS), gpu, PLACE, links).unwrap();
        root
    }

    #[test]
    fn a_written_topology_is_read_back_by_the_reader_of_sysfs() {
        for (gpu, target) in [(GpuShape::MI300X_PARTITION, "gfx942"), (GpuShape::NAVI_31, "gfx1100")] {
            let nodes = topology(written(&gpu, BOTH).path()).unwrap();
            let [host, gpu_node] = nodes.as_slice() else { panic!("two nodes, not {nodes:?}") };
            assert_eq!((host.target, host.pci_address.as_deref()), (None, None));
            assert_eq!(gpu_node.target.unwrap().to_string(), target);
            assert_eq!(gpu_node.pci_address.as_deref(), Some("0001:0b:00.0"));
            assert_eq!(host.links, [Link { to: 1, kind: LinkKind::Pcie, atomics: LinkAtomics::Both }]);
            assert_eq!(gpu_node.links, [Link { to: 0, kind: LinkKind::Pcie, atomics: LinkAtomics::Both }]);
        }
    }

    #[test]
    fn each_direction_has_link_flags_of_its_own() {
        let links = HostLinks { to_host: LinkAtomics::Neither, to_gpu: LinkAtomics::Only32 };
        let nodes = topology(written(&GpuShape::NAVI_31, links).path()).unwrap();
        assert_eq!((nodes[0].links[0].atomics, nodes[1].links[0].atomics), (LinkAtomics::Only32, LinkAtomics::Neither));
    }

    /// What ROCr's model mode insists on, found by taking one item at a time away.
    #[test]
    fn the_runtime_finds_what_it_insists_on() {
        for gpu in [GpuShape::MI300X_PARTITION, GpuShape::NAVI_31] {
            let root = written(&gpu, BOTH);
            let nodes = root.path().join(TOPOLOGY_IN_SYSFS).join("nodes");
            assert_eq!(fs::read_to_string(nodes.join("0/gpu_id")).unwrap(), "0\n");
            assert_eq!(fs::read_to_string(nodes.join("1/gpu_id")).unwrap(), "2\n");
            let properties = fs::read_to_string(nodes.join("1/properties")).unwrap();
            let value = |name: &str| -> u64 {
                properties.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap().parse().unwrap()
            };
            assert_eq!(value("cpu_cores_count"), 0);
            assert_eq!(value("capability") >> 12 & 3, 2, "doorbells of 64 bits");
            assert_eq!(value("capability") >> 29 & 1, 0, "no firmware that can be debugged");
            assert!(value("drm_render_minor") >= 128);
            let needed =
                ["simd_count", "simd_per_cu", "simd_arrays_per_engine", "lds_size_in_kb", "num_sdma_engines", "caches_count"];
            for name in needed {
                assert!(value(name) > 0, "{name}");
            }
            for announced in ["mem_banks/0", "caches/0", "caches/1", "io_links/0"] {
                assert!(nodes.join("1").join(announced).join("properties").is_file(), "{announced}");
            }
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = write(file.path(), &GpuShape::NAVI_31, PLACE, BOTH).unwrap_err();
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
