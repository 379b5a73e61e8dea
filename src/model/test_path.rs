//! A PCIe path made of files in a temporary directory, for tests: the founding Fiji below switches and a root port.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::fabric::PciPath;
use super::founding::FIJI_CONFIG;
use crate::pci::tree::FABRIC_COUNTERS_FILE;
use crate::pci::tree::{BridgeImage, BusNumbers};
use crate::pci::{ConfigSpace, registers as reg};

/// Where Device Control 2 of the founding Fiji is (capability at 0x58).
const FIJI_DEVCTL2: u64 = 0x80;

pub(super) const BUSES: BusNumbers = BusNumbers { primary: 0, secondary: 0x0b, subordinate: 0x0b };

pub(super) struct TestPath {
    folder: tempfile::TempDir,
    above: Vec<PathBuf>,
}

impl TestPath {
    /// `above`: the endpoint's neighbour first.
    pub(super) fn below(above: &[ConfigSpace]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config"), FIJI_CONFIG).unwrap();
        let write = |(index, config): (usize, &ConfigSpace)| {
            let path = folder.path().join(format!("bridge{index}"));
            fs::write(&path, config.bytes()).unwrap();
            path
        };
        let above = above.iter().enumerate().map(write).collect();
        Self { folder, above }
    }

    pub(super) fn below_root_port() -> Self {
        Self::below(&[BridgeImage::root_port(BUSES).build()])
    }

    pub(super) fn open(&self) -> PciPath {
        PciPath::from_files(&self.folder.path().join("config"), &self.above, &self.folder.path().join(FABRIC_COUNTERS_FILE))
            .unwrap()
    }

    pub(super) fn counters_file(&self) -> Vec<u8> {
        fs::read(self.folder.path().join(FABRIC_COUNTERS_FILE)).unwrap()
    }

    /// What `setpci` does to the endpoint's Device Control 2.
    pub(super) fn set_device_control_2(&self, value: u16) {
        self.write(FIJI_DEVCTL2, value);
    }

    pub(super) fn enable_requester(&self) {
        self.set_device_control_2(reg::REQUESTER_ENABLE);
    }

    /// The endpoint's config space as it reads now.
    pub(super) fn endpoint_bytes(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("config")).unwrap()
    }

    pub(super) fn set_command(&self, value: u16) {
        self.write(u64::from(reg::COMMAND.0), value);
    }

    fn write(&self, at: u64, value: u16) {
        let config = OpenOptions::new().write(true).open(self.folder.path().join("config")).unwrap();
        config.write_all_at(&value.to_le_bytes(), at).unwrap();
    }
}
