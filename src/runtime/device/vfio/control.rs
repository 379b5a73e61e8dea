//! The device's registers, and what is done with them.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::VfioError;
use crate::model::endpoint_registers::{Command, FABRIC_COUNTERS, FAULT_TEXT_BYTES, MAGIC, Register, Status, VERSION};
use crate::model::gpu::{QueueDescriptor, QueueId};
use crate::model::target::Target;

/// Where the registers are.
pub trait RegisterFile: Send + Sync {
    /// Reads a register.
    ///
    /// # Errors
    /// The device does not answer.
    fn read(&self, register: Register) -> io::Result<u64>;

    /// Writes a register.
    ///
    /// # Errors
    /// The device does not answer.
    fn write(&self, register: Register, value: u64) -> io::Result<()>;
}

/// The registers of a device that said it is ours.
pub struct Control<Registers> {
    registers: Registers,
    /// Held from the first argument of a command to its last result.
    command: Mutex<()>,
    queue_limit: u64,
    vram_bytes: u64,
}

impl<Registers: RegisterFile> Control<Registers> {
    /// Asks the device whether it is the endpoint that this runtime can drive.
    ///
    /// # Errors
    /// It is not, it is a newer one, its shader cores have no kernels here, or it does not answer.
    pub fn open(registers: Registers) -> Result<Self, VfioError> {
        let read = |register| registers.read(register).map_err(|source| VfioError::Register { register, source });
        let (magic, version, target) = (read(Register::Magic)?, read(Register::Version)?, read(Register::Target)?);
        if magic != MAGIC {
            return Err(VfioError::NotTheEndpoint { magic });
        }
        if version != VERSION {
            return Err(VfioError::Version { version });
        }
        match u32::try_from(target).ok().and_then(Target::from_kfd_version) {
            Some(Target::Gfx803) => {}
            _ => return Err(VfioError::Target { target }),
        }
        let (queue_limit, vram_bytes) = (read(Register::QueueLimit)?, read(Register::VramBytes)?);
        Ok(Self { registers, command: Mutex::default(), queue_limit, vram_bytes })
    }

    /// Queues that can exist at once.
    pub const fn queue_limit(&self) -> u64 {
        self.queue_limit
    }

    /// Bytes of the device's own memory.
    pub const fn vram_bytes(&self) -> u64 {
        self.vram_bytes
    }

    fn read(&self, register: Register) -> Result<u64, VfioError> {
        self.registers.read(register).map_err(|source| VfioError::Register { register, source })
    }

    fn write(&self, register: Register, value: u64) -> Result<(), VfioError> {
        self.registers.write(register, value).map_err(|source| VfioError::Register { register, source })
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accepted(&self, what: &'static str) -> Result<(), VfioError> {
        let number = self.read(Register::Status)?;
        match Status::from_number(number) {
            Some(Status::Ok) => Ok(()),
            Some(status) => Err(VfioError::Refused { what, status }),
            None => Err(VfioError::UnknownStatus { what, number }),
        }
    }

    /// Tells the device at which address its memory appears.
    pub fn place_vram(&self, address: u64) -> Result<(), VfioError> {
        let _turn = self.turn();
        self.write(Register::VramBase, address)?;
        self.accepted("to place its memory")
    }

    /// Creates a queue.
    pub fn create_queue(&self, descriptor: &QueueDescriptor) -> Result<QueueId, VfioError> {
        let _turn = self.turn();
        self.write(Register::Argument0, descriptor.amd_queue.0)?;
        self.write(Register::Argument1, descriptor.ring.0)?;
        self.write(Register::Argument2, descriptor.packets.get().into())?;
        self.write(Register::Command, Command::CreateQueue.number())?;
        self.accepted("to create a queue")?;
        let id = self.read(Register::Result)?;
        u32::try_from(id).ok().filter(|id| u64::from(*id) < self.queue_limit).map(QueueId).ok_or(VfioError::QueueId { id })
    }

    /// Destroys a queue.
    pub fn destroy_queue(&self, queue: QueueId) -> Result<(), VfioError> {
        let _turn = self.turn();
        self.write(Register::Argument0, queue.0.into())?;
        self.write(Register::Command, Command::DestroyQueue.number())?;
        self.accepted("to destroy a queue")
    }

    /// Makes the device forget decoded code.
    pub fn invalidate_code(&self) -> Result<(), VfioError> {
        let _turn = self.turn();
        self.write(Register::Command, Command::InvalidateCode.number())?;
        self.accepted("to forget decoded code")
    }

    /// The device clock in nanoseconds.
    ///
    /// vfio-pci may read a register as two halves, between which the low one may wrap: a reading that is 2^32 off. Of two readings
    /// in a row that are close both are right; if they are not, at most one of three was torn, and the third is whole.
    pub fn clock(&self) -> Result<u64, VfioError> {
        let (first, second) = (self.read(Register::Clock)?, self.read(Register::Clock)?);
        if second.wrapping_sub(first) < 1 << 31 { Ok(second) } else { self.read(Register::Clock) }
    }

    /// The text about the queue that failed last, if one did.
    pub fn fault(&self) -> Result<Option<String>, VfioError> {
        if self.read(Register::FaultCount)? == 0 {
            return Ok(None);
        }
        let length = self.read(Register::FaultLength)?.min(FAULT_TEXT_BYTES);
        let mut text = Vec::new();
        for at in (0..length).step_by(8) {
            text.extend(self.read(Register::FaultText(at as u16))?.to_le_bytes());
        }
        text.truncate(length as usize);
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// The fabric counters, in the order of the counters' file.
    pub fn fabric(&self) -> Result<[u64; FABRIC_COUNTERS as usize], VfioError> {
        let mut counters = [0; FABRIC_COUNTERS as usize];
        for (counter, index) in counters.iter_mut().zip(0..) {
            *counter = self.read(Register::Fabric(index))?;
        }
        Ok(counters)
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
