//! The PCI function as vfio-pci opens it: config space, BARs, registers.
//!
//! `VFIO_DEVICE_GET_INFO` is never called: the regions of a PCI function have fixed numbers, and since Linux 6.5 that call also sets
//! AtomicOp Requester Enable where the path allows (drivers/vfio/pci/vfio_pci_core.c: it asks `pci_enable_atomic_ops_to_root`). A harness
//! whose subject is that bit must not change it by asking.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::control::RegisterFile;
use super::error::VfioError;
use super::ioctl::{self, RegionInfo};
use super::mapping::{BarMapping, Placement};
use crate::model::endpoint_registers::{REGISTER_BYTES, Register};
use crate::pci::{ConfigOffset, ConfigSpace};

/// The open function. Closing it makes the kernel reset it and put its config space back.
pub struct Function {
    device: OwnedFd,
    config: RegionInfo,
    registers: RegionInfo,
}

const REGISTER_BAR: u32 = 5;

impl Function {
    /// Finds the regions.
    ///
    /// # Errors
    /// One is missing.
    pub fn new(device: OwnedFd) -> Result<Self, VfioError> {
        let config = region(&device, ioctl::CONFIG_REGION)?;
        let registers = region(&device, REGISTER_BAR)?;
        if registers.size < REGISTER_BYTES {
            return Err(unfit(REGISTER_BAR, registers, "aqlprobe's endpoint has 4096 bytes of registers there"));
        }
        Ok(Self { device, config, registers })
    }

    /// Maps a BAR of at least `bytes`.
    ///
    /// # Errors
    /// It is smaller, cannot be mapped, or its place is taken.
    pub fn map_bar(&self, index: u32, bytes: u64, placement: Placement) -> Result<BarMapping, VfioError> {
        let info = region(&self.device, index)?;
        if info.flags & ioctl::REGION_MAPPABLE == 0 || info.size < bytes {
            return Err(unfit(index, info, "aqlprobe's endpoint lets it be mapped and says more bytes"));
        }
        let length = usize::try_from(info.size).map_err(|_| unfit(index, info, "that is more than this process can map"))?;
        BarMapping::new(&self.device, info.offset, length, placement).map_err(|source| {
            let address = match placement {
                Placement::Anywhere => "any address".to_owned(),
                Placement::At(address) => format!("{address:#x}"),
            };
            VfioError::Map { index, address, source }
        })
    }

    /// A copy of config space.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn config(&self) -> Result<ConfigSpace, VfioError> {
        let mut bytes = vec![0; ConfigSpace::CONVENTIONAL_SIZE];
        self.read(self.config.offset, &mut bytes).map_err(VfioError::Config)?;
        Ok(ConfigSpace::from_bytes(bytes))
    }

    /// Reads any bytes of the registers' BAR, whatever they are.
    ///
    /// # Errors
    /// The device does not answer.
    pub fn read_raw_registers(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read(self.registers.offset.wrapping_add(offset), bytes)
    }

    /// Writes any bytes of the registers' BAR, whatever they mean.
    ///
    /// # Errors
    /// The device does not answer.
    pub fn write_raw_registers(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(self.registers.offset.wrapping_add(offset), bytes)
    }

    /// Writes any bytes of config space.
    ///
    /// # Errors
    /// The kernel or the device refuses.
    pub fn write_raw_config(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(self.config.offset.wrapping_add(offset), bytes)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let length = bytes.len();
        let read = rustix::io::pread(&self.device, bytes, offset)?;
        if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = rustix::io::pwrite(&self.device, bytes, offset)?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

fn region(device: impl AsFd, index: u32) -> Result<RegionInfo, VfioError> {
    ioctl::region(device.as_fd(), index).map_err(|source| VfioError::Setup { step: "describe the function's regions", source })
}

const fn unfit(index: u32, info: RegionInfo, wanted: &'static str) -> VfioError {
    VfioError::Region { index, size: info.size, flags: info.flags, wanted }
}

/// 16-bit registers of config space, which is how Command and Device Control 2 are reached.
pub trait ConfigWords {
    /// Reads one.
    ///
    /// # Errors
    /// The device does not answer.
    fn read_word(&self, at: ConfigOffset) -> io::Result<u16>;

    /// Writes one.
    ///
    /// # Errors
    /// The device does not answer.
    fn write_word(&self, at: ConfigOffset, value: u16) -> io::Result<()>;
}

impl ConfigWords for Function {
    fn read_word(&self, at: ConfigOffset) -> io::Result<u16> {
        let mut bytes = [0; 2];
        self.read(self.config.offset + u64::from(at.0), &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn write_word(&self, at: ConfigOffset, value: u16) -> io::Result<()> {
        self.write(self.config.offset + u64::from(at.0), &value.to_le_bytes())
    }
}

impl RegisterFile for Arc<Function> {
    fn read(&self, register: Register) -> io::Result<u64> {
        let mut bytes = [0; 8];
        Function::read(self, self.registers.offset + register.offset(), &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&self, register: Register, value: u64) -> io::Result<()> {
        Function::write(self, self.registers.offset + register.offset(), &value.to_le_bytes())
    }
}
