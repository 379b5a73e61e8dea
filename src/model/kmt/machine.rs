//! Which GPU to be, and where its config space is.

use std::env;
use std::path::{Path, PathBuf};

use crate::kfd::topology::{self, TopologyError};
use crate::model::machine::{Machine, MachineError};
use crate::model::target::{Target, UnknownTarget};

/// Environment variable with which AMD's runtime is told to run on a model, and on which.
pub const TOPOLOGY_ENV: &str = "HSA_MODEL_TOPOLOGY";

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Not started by a runtime in model mode.
    #[error("{TOPOLOGY_ENV} is not set; it must name the topology directory of the machine to be modelled")]
    NoTopology,
    /// The directory cannot be read.
    #[error("the topology that {TOPOLOGY_ENV} names: {0}")]
    Topology(#[from] TopologyError),
    /// Not exactly one GPU.
    #[error("{} has {gpus} GPU nodes; the model is one GPU", directory.display())]
    NotOneGpu {
        /// The directory.
        directory: PathBuf,
        /// GPU nodes in it.
        gpus: usize,
    },
    /// A GPU that the model cannot be.
    #[error("the GPU in {}: {source}", directory.display())]
    Target {
        /// The directory.
        directory: PathBuf,
        /// Which.
        source: UnknownTarget,
    },
    /// The config space cannot be had.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// The machine that the environment describes.
pub fn of_environment() -> Result<(Target, Machine), Unfit> {
    let directory = env::var_os(TOPOLOGY_ENV).ok_or(Unfit::NoTopology)?;
    let target = target_of(Path::new(&directory))?;
    Ok((target, Machine::open(target)?))
}

/// The target of the one GPU node in a topology directory.
pub fn target_of(directory: &Path) -> Result<Target, Unfit> {
    let nodes = topology::nodes(directory)?;
    let targets: Vec<_> = nodes.iter().filter_map(|node| node.target).collect();
    match targets.as_slice() {
        [target] => target.to_string().parse().map_err(|source| Unfit::Target { directory: directory.to_owned(), source }),
        _ => Err(Unfit::NotOneGpu { directory: directory.to_owned(), gpus: targets.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The topology of a CPU and GPUs of these versions.
    fn topology(versions: &[u32]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (node, version) in std::iter::once(&0).chain(versions).enumerate() {
            let path = directory.path().join(format!("nodes/{node}"));
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("properties"), format!("simd_count 1\ngfx_target_version {version}\n")).unwrap();
        }
        directory
    }

    #[test]
    fn the_target_is_that_of_the_one_gpu_node() {
        for target in [Target::Gfx942, Target::Gfx1100] {
            assert_eq!(target_of(topology(&[target.kfd_version()]).path()).unwrap(), target);
        }
    }

    #[test]
    fn none_two_and_unknown_gpus_are_refused_by_name() {
        for (versions, said) in [(&[][..], "0 GPU nodes"), (&[9_04_02, 9_04_02], "2 GPU nodes"), (&[12_00_01], "gfx1201")] {
            let error = target_of(topology(versions).path()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(matches!(target_of(Path::new("no/such/directory")), Err(Unfit::Topology(_))));
    }
}
