//! The state of one wavefront.

use super::LANES;
use super::operand::{AccumulatorRegister, ScalarRegister, ScalarSource, VectorRegister};
use super::private::PrivateMemory;
use crate::model::address::GpuVa;
use crate::model::target::WaveSize;

/// One vector register: a value per lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Row(pub [u32; LANES]);

impl Row {
    /// Zero in every lane.
    pub const ZERO: Self = Self([0; LANES]);
}

/// Lanes in half a row: four registers of a host with AVX2, so that a result need not lie in memory before it is in its row.
pub(crate) const HALF: usize = LANES / 2;

/// Which half of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Lanes 0 to 31.
    Low,
    /// Lanes 32 to 63.
    High,
}

impl Half {
    /// Its bits of a mask with a bit for each lane.
    #[inline(always)]
    pub(crate) const fn of_mask(self, mask: u64) -> u32 {
        match self {
            Self::Low => mask as u32,
            Self::High => (mask >> 32) as u32,
        }
    }

    /// These bits at their place in a mask with a bit for each lane.
    #[inline(always)]
    pub(crate) const fn in_mask(self, bits: u32) -> u64 {
        match self {
            Self::Low => bits as u64,
            Self::High => (bits as u64) << 32,
        }
    }
}

const VECTOR_REGISTERS: usize = 256;

/// Registers and program counter of a wavefront.
///
/// The vector file always has its architectural 256 registers, so that a register number needs no check; the kernel's own
/// allocation is not enforced. Registers keep what an earlier wave left in them unless the launch sets them, as on hardware.
#[derive(Debug)]
pub struct Wave {
    vector: Box<[Row; VECTOR_REGISTERS]>,
    /// Empty until the first write: few kernels use it.
    accumulators: Vec<Row>,
    scalar: [u32; ScalarRegister::COUNT],
    size: WaveSize,
    /// The lanes that exist.
    lanes: u64,
    pub(crate) scc: bool,
    pub(crate) pc: GpuVa,
    /// Value of the hardware register HW_ID.
    pub(crate) hardware_id: u32,
    /// Stores since the last wait for them.
    pub(crate) stores_under_way: bool,
    pub(crate) private_memory: PrivateMemory,
}

impl Default for Wave {
    fn default() -> Self {
        Self::new()
    }
}

impl Wave {
    /// A wave with all registers zero.
    ///
    /// # Panics
    /// Never: the vector file has a fixed size.
    #[must_use]
    pub fn new() -> Self {
        let rows = vec![Row::ZERO; VECTOR_REGISTERS].into_boxed_slice();
        Self {
            vector: rows.try_into().expect("a slice of 256 rows is an array of 256 rows"),
            accumulators: Vec::new(),
            scalar: [0; ScalarRegister::COUNT],
            size: WaveSize::Lanes64,
            lanes: u64::MAX,
            scc: false,
            pc: GpuVa::NULL,
            hardware_id: 0,
            stores_under_way: false,
            private_memory: PrivateMemory::NONE,
        }
    }

    /// Prepares for another work: scalar state zero, these lanes active.
    pub fn reset(&mut self, size: WaveSize, entry: GpuVa, active_lanes: u64, hardware_id: u32) {
        self.scalar[..ScalarRegister::NAMED].fill(0);
        self.size = size;
        self.lanes = match size {
            WaveSize::Lanes32 => u64::from(u32::MAX),
            WaveSize::Lanes64 => u64::MAX,
        };
        self.scc = false;
        self.pc = GpuVa(entry.0 & !3);
        self.hardware_id = hardware_id;
        self.stores_under_way = false;
        self.private_memory = PrivateMemory::NONE;
        self.set_exec(active_lanes);
    }

    /// Gives the wave its part of the scratch memory, and FLAT_SCRATCH its address: "architected flat scratch" (LLVM AMDGPUUsage,
    /// "Flat Scratch").
    pub fn set_private_memory(&mut self, memory: PrivateMemory) {
        self.private_memory = memory;
        self.set_scalar_pair(ScalarRegister::FLAT_SCRATCH, memory.base.0);
    }

    /// Address of the next instruction.
    #[must_use]
    pub const fn pc(&self) -> GpuVa {
        self.pc
    }

    /// How many lanes the wave has.
    #[must_use]
    #[inline(always)]
    pub const fn size(&self) -> WaveSize {
        self.size
    }

    /// The mask of active lanes. A wave of 32 has only the low half, whatever was written to the high one: code that writes both
    /// (`s_mov_b64 exec, -1`) is in use.
    #[must_use]
    #[inline(always)]
    pub fn exec(&self) -> u64 {
        self.scalar_pair(ScalarRegister::EXEC) & self.lanes
    }

    /// Whether every lane that exists is active.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.exec() == self.lanes
    }

    /// A mask with a bit for each lane: one register, or two (RDNA3 "Wave32 and Wave64").
    #[inline(always)]
    pub(crate) fn mask(&self, register: ScalarRegister) -> u64 {
        self.scalar_pair(register) & self.lanes
    }

    /// Writes a mask with a bit for each lane; a wave of 32 leaves the next register alone.
    #[inline(always)]
    pub(crate) fn set_mask(&mut self, register: ScalarRegister, mask: u64) {
        self.set_scalar(register, mask as u32);
        if self.size == WaveSize::Lanes64 {
            self.set_scalar(register.plus(1), (mask >> 32) as u32);
        }
    }

    #[inline(always)]
    pub(crate) fn set_exec(&mut self, lanes: u64) {
        self.set_scalar_pair(ScalarRegister::EXEC, lanes);
    }

    /// A scalar register.
    #[must_use]
    #[inline(always)]
    pub fn scalar(&self, register: ScalarRegister) -> u32 {
        self.scalar[register.index()]
    }

    /// Writes a scalar register.
    #[inline(always)]
    pub fn set_scalar(&mut self, register: ScalarRegister, value: u32) {
        self.scalar[register.index()] = value;
    }

    /// A scalar register and the next, low half first.
    #[must_use]
    #[inline(always)]
    pub fn scalar_pair(&self, register: ScalarRegister) -> u64 {
        u64::from(self.scalar(register)) | u64::from(self.scalar(register.plus(1))) << 32
    }

    /// Writes a scalar register and the next.
    #[inline(always)]
    pub fn set_scalar_pair(&mut self, register: ScalarRegister, value: u64) {
        self.set_scalar(register, value as u32);
        self.set_scalar(register.plus(1), (value >> 32) as u32);
    }

    /// A vector register.
    #[must_use]
    #[inline(always)]
    pub fn vector(&self, register: VectorRegister) -> &Row {
        &self.vector[register.0 as usize]
    }

    /// A vector register, to write.
    #[inline(always)]
    pub fn vector_mut(&mut self, register: VectorRegister) -> &mut Row {
        &mut self.vector[register.0 as usize]
    }

    /// A register of the accumulation file.
    pub(crate) fn accumulator(&self, register: AccumulatorRegister) -> &Row {
        const ZERO: Row = Row::ZERO;
        self.accumulators.get(usize::from(register.0)).unwrap_or(&ZERO)
    }

    /// Copies the active lanes of an accumulation register.
    pub(crate) fn read_accumulator(&mut self, destination: VectorRegister, a: AccumulatorRegister) {
        let values = self.accumulator(a).0;
        self.write_active(destination, &values);
    }

    /// Writes the active lanes of an accumulation register.
    pub(crate) fn write_accumulator(&mut self, register: AccumulatorRegister, values: &[u32; LANES]) {
        if self.accumulators.is_empty() {
            self.accumulators.resize(VECTOR_REGISTERS, Row::ZERO);
        }
        let lanes = self.exec();
        for lane in lanes_of(lanes) {
            self.accumulators[usize::from(register.0)].0[lane] = values[lane];
        }
    }

    /// A 32-bit scalar source.
    #[inline(always)]
    pub(crate) fn word(&self, source: ScalarSource) -> u32 {
        match source {
            ScalarSource::Register(register) => self.scalar(register),
            ScalarSource::Constant(value) => value as u32,
            ScalarSource::VccIsZero => u32::from(self.mask(ScalarRegister::VCC) == 0),
            ScalarSource::ExecIsZero => u32::from(self.exec() == 0),
            ScalarSource::Scc => u32::from(self.scc),
        }
    }

    /// A 64-bit scalar source.
    #[inline(always)]
    pub(crate) fn double_word(&self, source: ScalarSource) -> u64 {
        match source {
            ScalarSource::Register(register) => self.scalar_pair(register),
            ScalarSource::Constant(value) => value,
            _ => u64::from(self.word(source)),
        }
    }

    /// The halves of a row that hold lanes: one for a wave of 32.
    #[inline(always)]
    pub(crate) fn halves(&self) -> impl Iterator<Item = Half> + use<> {
        let second = (self.size == WaveSize::Lanes64).then_some(Half::High);
        std::iter::once(Half::Low).chain(second)
    }

    /// Half a vector register.
    #[inline(always)]
    pub(crate) fn half(&self, register: VectorRegister, half: Half) -> &[u32; HALF] {
        let [low, high] = self.vector(register).0.as_chunks().0 else { unreachable!("a row has two halves") };
        match half {
            Half::Low => low,
            Half::High => high,
        }
    }

    /// Writes the active lanes of half a vector register.
    #[inline(always)]
    pub(crate) fn write_active_half(&mut self, register: VectorRegister, half: Half, values: &[u32; HALF]) {
        let (full, lanes) = (self.is_full(), half.of_mask(self.exec()));
        let [low, high] = self.vector_mut(register).0.as_chunks_mut().0 else { unreachable!("a row has two halves") };
        let row = match half {
            Half::Low => low,
            Half::High => high,
        };
        if full {
            *row = *values;
        } else {
            blend(row, values, lanes);
        }
    }

    /// Writes the active lanes of a vector register.
    #[inline(always)]
    pub(crate) fn write_active(&mut self, register: VectorRegister, values: &[u32; LANES]) {
        let (lanes, exist) = (self.exec(), self.lanes);
        let row = &mut self.vector_mut(register).0;
        if lanes == exist {
            // Lanes that do not exist get something too, which nobody sees.
            *row = *values;
        } else {
            let (low, high) = row.split_at_mut(LANES / 2);
            blend(low, &values[..LANES / 2], lanes as u32);
            blend(high, &values[LANES / 2..], (lanes >> 32) as u32);
        }
    }
}

/// Per half wave, so that the mask fits the width of a lane and the loop becomes vector code.
#[inline(always)]
fn blend(row: &mut [u32], values: &[u32], lanes: u32) {
    for (lane, (old, new)) in row.iter_mut().zip(values).enumerate() {
        let chosen = (lanes >> lane & 1).wrapping_neg();
        *old = (*old & !chosen) | (new & chosen);
    }
}

/// The active lanes of a mask, lowest first.
#[inline(always)]
pub(crate) fn lanes_of(mask: u64) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        (left != 0).then(|| {
            let lane = left.trailing_zeros() as usize;
            left &= left - 1;
            lane
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_active_lanes_are_written() {
        let mut wave = Wave::new();
        let register = VectorRegister(7);
        for exec in [0, 1, 1 << 31, 1 << 32, 1 << 63, 0xa5a5_0000_ffff_1234, u64::MAX] {
            wave.vector_mut(register).0 = [5; LANES];
            wave.set_exec(exec);
            wave.write_active(register, &std::array::from_fn(|lane| 100 + lane as u32));
            for lane in 0..LANES {
                let expected = if exec >> lane & 1 == 1 { 100 + lane as u32 } else { 5 };
                assert_eq!(wave.vector(register).0[lane], expected, "lane {lane} with EXEC {exec:#x}");
            }
        }
    }

    #[test]
    fn a_wave_of_32_has_masks_of_one_register_and_no_upper_lanes() {
        let mut wave = Wave::new();
        wave.reset(WaveSize::Lanes32, GpuVa::NULL, u64::from(u32::MAX), 0);
        assert!(wave.is_full());
        let register = ScalarRegister::new(20).unwrap();
        wave.set_scalar(register.plus(1), 7);
        wave.set_mask(register, u64::MAX);
        assert_eq!((wave.scalar(register), wave.scalar(register.plus(1))), (u32::MAX, 7));
        assert_eq!(wave.mask(register), u64::from(u32::MAX));
        wave.set_exec(u64::MAX);
        assert_eq!(wave.exec(), u64::from(u32::MAX));
        wave.set_exec(0xf0_0000_000f);
        assert_eq!(wave.exec(), 0xf);
    }

    #[test]
    fn a_wave_that_is_reset_finds_zero_in_every_register_that_it_can_name() {
        let mut wave = Wave::new();
        (0..128).filter_map(ScalarRegister::new).for_each(|register| wave.set_scalar(register, 5));
        wave.reset(WaveSize::Lanes64, GpuVa::NULL, 0, 0);
        assert!((0..128).filter_map(ScalarRegister::new).all(|register| wave.scalar(register) == 0));
    }

    #[test]
    fn exec_is_the_last_pair_of_the_scalar_file() {
        let mut wave = Wave::new();
        wave.set_exec(0x1111_2222_3333_4444);
        assert_eq!(wave.scalar(ScalarRegister::new(126).unwrap()), 0x3333_4444);
        assert_eq!(wave.scalar(ScalarRegister::new(127).unwrap()), 0x1111_2222);
    }

    #[test]
    fn lanes_of_a_mask_come_lowest_first() {
        assert_eq!(lanes_of(0x8000_0000_0000_0005).collect::<Vec<_>>(), [0, 2, 63]);
    }
}
