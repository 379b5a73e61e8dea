//! BAR5: what the device answers and does ([`crate::model::endpoint_registers`] says what each register is).

use std::num::NonZeroU32;
use std::sync::Arc;

use super::attached::AttachedGpu;
use super::doorbells::Doorbells;
use super::interrupts::Interrupts;
use crate::model::address::GpuVa;
use crate::model::endpoint_registers::{Command, FAULT_TEXT_BYTES, MAGIC, REGISTER_BYTES, Register, Status, VERSION};
use crate::model::gpu::{Gpu, GpuError, QueueDescriptor, QueueId};
use crate::model::target::Target;

/// Whether the device may send requests to memory just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BusMaster {
    Enabled,
    Disabled,
}

/// The parts of the device that registers act on.
pub(super) struct Works<'device> {
    pub(super) target: Target,
    pub(super) gpu: &'device mut AttachedGpu,
    pub(super) doorbells: &'device Doorbells,
    pub(super) interrupts: &'device Arc<Interrupts>,
    pub(super) bus_master: BusMaster,
}

/// What a driver has written, and what the device keeps for it to read.
#[derive(Debug, Default)]
pub(super) struct RegisterFile {
    arguments: [u64; 3],
    status: Status,
    result: u64,
    /// The last write to [`Register::VramBase`], which takes effect with its high half.
    vram_base: u64,
    /// The text of the last fault when its length was read, so that it does not change while it is read piece by piece.
    fault_text: Vec<u8>,
}

/// Which part of a register an access meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole(u64),
    Low(u32),
    High(u32),
}

impl Part {
    /// The part that aligned accesses of 4 or 8 bytes meet; `None` for any other, which no register takes.
    fn of(offset: u64, data: &[u8]) -> Option<Self> {
        if let Ok(bytes) = data.try_into() {
            return offset.is_multiple_of(8).then(|| Self::Whole(u64::from_le_bytes(bytes)));
        }
        let value = u32::from_le_bytes(data.try_into().ok()?);
        match offset % 8 {
            0 => Some(Self::Low(value)),
            4 => Some(Self::High(value)),
            _ => None,
        }
    }

    /// A register of this value after the write.
    const fn merged(self, old: u64) -> u64 {
        match self {
            Self::Whole(value) => value,
            Self::Low(value) => old & !0xffff_ffff | value as u64,
            Self::High(value) => old & 0xffff_ffff | (value as u64) << 32,
        }
    }
}

impl RegisterFile {
    /// Copies bytes of the page out; `None` when they are not all inside.
    pub(super) fn read(&mut self, offset: u64, data: &mut [u8], works: &Works<'_>) -> Option<()> {
        let end = offset.checked_add(data.len() as u64).filter(|&end| end <= REGISTER_BYTES)?;
        let mut at = offset;
        let mut rest = data;
        while at < end {
            let word = Register::at(at / 8 * 8).map_or(0, |register| self.value(register, works)).to_le_bytes();
            let skipped = (at % 8) as usize;
            let (piece, behind) = rest.split_at_mut(rest.len().min(8 - skipped));
            piece.copy_from_slice(&word[skipped..skipped + piece.len()]);
            at += piece.len() as u64;
            rest = behind;
        }
        Some(())
    }

    fn value(&mut self, register: Register, works: &Works<'_>) -> u64 {
        let gpu = works.gpu.gpu();
        match register {
            Register::Magic => MAGIC,
            Register::Version => VERSION,
            Register::Target => u64::from(works.target.kfd_version()),
            Register::QueueLimit => u64::from(Gpu::MAX_QUEUES),
            Register::Clock => gpu.map_or(0, Gpu::timestamp),
            Register::Status => self.status.number(),
            Register::Command => 0,
            Register::Argument0 => self.arguments[0],
            Register::Argument1 => self.arguments[1],
            Register::Argument2 => self.arguments[2],
            Register::Result => self.result,
            Register::VramBase => works.gpu.vram_base().unwrap_or_default().0,
            Register::VramBytes => works.gpu.vram().length(),
            Register::Fabric(index) => {
                gpu.and_then(|gpu| gpu.fabric_counters().in_file_order().get(usize::from(index)).copied()).unwrap_or(0)
            }
            Register::FaultCount => gpu.map_or(0, Gpu::fault_count),
            Register::FaultLength => {
                self.fault_text = gpu.and_then(Gpu::last_fault).map_or_else(Vec::new, |fault| shortened(fault.to_string()));
                self.fault_text.len() as u64
            }
            Register::FaultText(at) => {
                let text = self.fault_text.get(usize::from(at)..).unwrap_or_default();
                let mut word = [0; 8];
                word.iter_mut().zip(text).for_each(|(byte, character)| *byte = *character);
                u64::from_le_bytes(word)
            }
            Register::InterruptCount => works.interrupts.count(),
        }
    }

    /// Writes; `None` when the bytes are not all inside the page. What is no aligned access of 4 or 8 bytes changes nothing.
    ///
    /// The answer is the command that was executed, if one was.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], works: &mut Works<'_>) -> Option<Option<Executed>> {
        offset.checked_add(data.len() as u64).filter(|&end| end <= REGISTER_BYTES)?;
        let access = Part::of(offset, data).zip(Register::at(offset / 8 * 8));
        let Some((part, register)) = access else { return Some(None) };
        match register {
            Register::Argument0 => self.arguments[0] = part.merged(self.arguments[0]),
            Register::Argument1 => self.arguments[1] = part.merged(self.arguments[1]),
            Register::Argument2 => self.arguments[2] = part.merged(self.arguments[2]),
            Register::VramBase => {
                self.vram_base = part.merged(self.vram_base);
                if !matches!(part, Part::Low(_)) {
                    self.place_vram(works);
                }
            }
            Register::Command if !matches!(part, Part::High(_)) => return Some(Some(self.execute(part.merged(0), works))),
            _ => {}
        }
        Some(None)
    }

    fn place_vram(&mut self, works: &mut Works<'_>) {
        let base = (self.vram_base != 0).then_some(GpuVa(self.vram_base));
        self.status = match works.gpu.place_vram(base) {
            Ok(()) => Status::Ok,
            Err(_) => Status::VramAddress,
        };
    }

    fn execute(&mut self, number: u64, works: &mut Works<'_>) -> Executed {
        let command = Command::from_number(number);
        let status = match command {
            None => Err(Status::UnknownCommand),
            Some(Command::CreateQueue) => self.create_queue(works).map(|id| self.result = u64::from(id.0)),
            Some(Command::DestroyQueue) => self.destroy_queue(works),
            Some(Command::InvalidateCode) => works.gpu.gpu().ok_or(Status::DeviceFailed).map(invalidate_code),
        };
        self.status = status.err().unwrap_or_default();
        Executed { number, arguments: self.arguments, status: self.status }
    }

    fn create_queue(&self, works: &mut Works<'_>) -> Result<QueueId, Status> {
        // The queue's read index has to be fetched.
        if works.bus_master == BusMaster::Disabled {
            return Err(Status::BusMasterDisabled);
        }
        let [amd_queue, ring, packets] = self.arguments;
        let packets = u32::try_from(packets).ok().and_then(NonZeroU32::new).ok_or(Status::RingLength)?;
        let gpu = works.gpu.gpu().ok_or(Status::DeviceFailed)?;
        invalidate_code(gpu);
        let descriptor = QueueDescriptor { amd_queue: GpuVa(amd_queue), ring: GpuVa(ring), packets };
        let (id, doorbell) = gpu.create_queue(descriptor).map_err(|error| status_of(&error))?;
        works.doorbells.attach(id, doorbell);
        Ok(id)
    }

    fn destroy_queue(&self, works: &mut Works<'_>) -> Result<(), Status> {
        let id = u32::try_from(self.arguments[0]).map_err(|_| Status::NoSuchQueue)?;
        let gpu = works.gpu.gpu().ok_or(Status::DeviceFailed)?;
        if !works.doorbells.detach(QueueId(id)) {
            return Err(Status::NoSuchQueue);
        }
        gpu.destroy_queue(QueueId(id));
        Ok(())
    }
}

/// A command that was executed, for who writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Executed {
    pub(super) number: u64,
    pub(super) arguments: [u64; 3],
    pub(super) status: Status,
}

fn invalidate_code(gpu: &Gpu) {
    gpu.memory().view().invalidate_code();
}

fn status_of(error: &GpuError) -> Status {
    match error {
        GpuError::RingLength { .. } | GpuError::SdmaRingLength { .. } => Status::RingLength,
        GpuError::RingAlignment { .. } => Status::RingAlignment,
        GpuError::QueueMemory(_) => Status::QueueMemory,
        GpuError::TooManyQueues { .. } => Status::TooManyQueues,
        GpuError::Endpoint(_) | GpuError::Path(_) | GpuError::Thread(_) | GpuError::Shadow(_) => Status::DeviceFailed,
    }
}

/// As much of a text as the registers hold, cut between characters.
fn shortened(text: String) -> Vec<u8> {
    let end = (0..=text.len().min(FAULT_TEXT_BYTES as usize)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let mut bytes = text.into_bytes();
    bytes.truncate(end);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aligned_accesses_of_4_and_8_bytes_meet_a_register() {
        assert_eq!(Part::of(8, &[1, 0, 0, 0, 0, 0, 0, 2]), Some(Part::Whole(0x0200_0000_0000_0001)));
        assert_eq!(Part::of(8, &[1, 0, 0, 0]), Some(Part::Low(1)));
        assert_eq!(Part::of(12, &[1, 0, 0, 0]), Some(Part::High(1)));
        assert_eq!(Part::of(12, &[0; 8]), None);
        assert_eq!(Part::of(9, &[0; 4]), None);
        assert_eq!(Part::of(8, &[0; 2]), None);
        assert_eq!(Part::of(8, &[]), None);
        assert_eq!(Part::Low(1).merged(0x22_0000_0033), 0x22_0000_0001);
        assert_eq!(Part::High(1).merged(0x22_0000_0033), 0x1_0000_0033);
    }

    #[test]
    fn a_long_fault_text_is_cut_between_characters() {
        assert_eq!(shortened("ä".repeat(300)).len(), 0x1f0);
        assert_eq!(shortened(format!("x{}", "ä".repeat(300))).len(), 0x1ef);
        assert_eq!(shortened("short".to_owned()), b"short");
    }
}
