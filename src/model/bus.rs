//! What the packet processor and the waves execute against: memory, and the fabric that admits AtomicOps to the host.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::address::GpuVa;
use super::memory::{Home, MapView, MemoryFault};
use crate::faults::{Fault, Injector};

/// A read-modify-write operation of the shader core or the packet processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RmwOp {
    /// `old + operand`.
    Add,
    /// `old - operand`.
    Sub,
    /// `operand`.
    Swap,
    /// `operand` if `old == compare`.
    CompareSwap,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Signed minimum.
    SignedMin,
    /// Signed maximum.
    SignedMax,
    /// Unsigned minimum.
    UnsignedMin,
    /// Unsigned maximum.
    UnsignedMax,
    /// `old >= operand ? 0 : old + 1` (GCN "inc").
    WrapInc,
    /// `old == 0 || old > operand ? operand : old - 1` (GCN "dec").
    WrapDec,
}

/// Operand size of an AtomicOp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperandWidth {
    /// 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
}

/// Whether an AtomicOp to host memory arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The root complex performs it.
    Performed,
    /// It is lost on the way; the fabric has counted why. The requester sees an Unsupported Request completion.
    Dropped,
}

/// The PCIe path from the device to host memory, asked for every AtomicOp.
pub trait Fabric {
    /// Decides on the live config space of every hop.
    fn admit(&self, op: RmwOp, width: OperandWidth) -> Admission;
}

/// Memory and fabric for one quantum of execution.
pub struct Bus<'a> {
    /// Plain reads and writes.
    pub memory: MapView<'a>,
    fabric: &'a dyn Fabric,
    faults: Option<&'a Injector>,
}

/// What becomes of an AtomicOp to host memory.
enum Crossing {
    Whole,
    /// As two of half its width.
    Torn,
    Dropped,
}

impl<'a> Bus<'a> {
    /// Joins a view of memory with the path of the device.
    #[must_use]
    pub fn new(memory: MapView<'a>, fabric: &'a dyn Fabric) -> Self {
        Self { memory, fabric, faults: None }
    }

    /// The same bus with what is to go wrong on it.
    #[must_use]
    pub fn with_faults(self, faults: Option<&'a Injector>) -> Self {
        Self { faults, ..self }
    }

    /// What the plan of this device has to be asked.
    #[must_use]
    #[inline]
    pub const fn faults(&self) -> Option<&'a Injector> {
        self.faults
    }

    #[inline]
    fn cross(&self, op: RmwOp, width: OperandWidth) -> Crossing {
        match self.faults {
            None if self.fabric.admit(op, width) == Admission::Performed => Crossing::Whole,
            None => Crossing::Dropped,
            Some(faults) => self.cross_badly(op, width, faults),
        }
    }

    #[cold]
    fn cross_badly(&self, op: RmwOp, width: OperandWidth, faults: &Injector) -> Crossing {
        // Lost before anything that counts has seen it.
        if faults.strikes(Fault::AtomicLost) || self.fabric.admit(op, width) == Admission::Dropped {
            Crossing::Dropped
        } else if width == OperandWidth::Bits64 && faults.strikes(Fault::AtomicTorn) {
            Crossing::Torn
        } else {
            Crossing::Whole
        }
    }

    /// Performs a 32-bit read-modify-write and returns the old value.
    ///
    /// A dropped one leaves memory alone and returns all ones, which is what a requester makes of an Unsupported Request completion.
    ///
    /// # Errors
    /// A memory fault.
    #[inline]
    pub fn rmw_u32(&self, va: GpuVa, op: RmwOp, operand: u32, compare: u32) -> Result<u32, MemoryFault> {
        let (word, home) = self.memory.atomic_u32(va)?;
        if home == Home::Host && matches!(self.cross(op, OperandWidth::Bits32), Crossing::Dropped) {
            return Ok(u32::MAX);
        }
        Ok(perform_u32(word, op, operand, compare))
    }

    /// Adds to a 64-bit word as an AtomicOp and says whether it arrived: for who must know, as the packet processor before it
    /// announces a completion. The returned values of [`Self::rmw_u64`] cannot tell a drop from a word of all ones.
    ///
    /// # Errors
    /// A memory fault.
    #[inline]
    pub fn add_u64(&self, va: GpuVa, addend: u64) -> Result<Admission, MemoryFault> {
        self.add_u64_announced(va, addend, || {})
    }

    /// As [`Self::add_u64`], with something to do just before an addition that arrives: for hosts that want to be told first.
    ///
    /// # Errors
    /// A memory fault.
    #[inline]
    pub fn add_u64_announced(&self, va: GpuVa, addend: u64, announce: impl FnOnce()) -> Result<Admission, MemoryFault> {
        let (word, home) = self.memory.atomic_u64(va)?;
        let crossing = if home == Home::Host { self.cross(RmwOp::Add, OperandWidth::Bits64) } else { Crossing::Whole };
        match crossing {
            Crossing::Dropped => return Ok(Admission::Dropped),
            Crossing::Whole => {
                announce();
                word.fetch_add(addend, Ordering::SeqCst);
            }
            Crossing::Torn => {
                announce();
                perform_torn(word, RmwOp::Add, addend, 0);
            }
        }
        Ok(Admission::Performed)
    }

    /// The 64-bit form of [`Self::rmw_u32`].
    ///
    /// # Errors
    /// A memory fault.
    #[inline]
    pub fn rmw_u64(&self, va: GpuVa, op: RmwOp, operand: u64, compare: u64) -> Result<u64, MemoryFault> {
        let (word, home) = self.memory.atomic_u64(va)?;
        let crossing = if home == Home::Host { self.cross(op, OperandWidth::Bits64) } else { Crossing::Whole };
        Ok(match crossing {
            Crossing::Whole => perform_u64(word, op, operand, compare),
            Crossing::Torn => perform_torn(word, op, operand, compare),
            Crossing::Dropped => !0,
        })
    }
}

/// What a 64-bit operation becomes where something on the way splits it: one of 32 bits on each half, the low half first, and others
/// may come between.
#[cold]
fn perform_torn(word: &AtomicU64, op: RmwOp, operand: u64, compare: u64) -> u64 {
    let half = |shift: u32| {
        let update = |old: u64| {
            let part = AtomicU32::new((old >> shift) as u32);
            perform_u32(&part, op, (operand >> shift) as u32, (compare >> shift) as u32);
            Some(old & !(0xffff_ffff << shift) | u64::from(part.into_inner()) << shift)
        };
        // The update never declines.
        let (Ok(old) | Err(old)) = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update);
        old >> shift & 0xffff_ffff
    };
    let low = half(0);
    half(32) << 32 | low
}

macro_rules! perform {
    ($name:ident, $atomic:ty, $word:ty, $signed:ty) => {
        fn $name(word: &$atomic, op: RmwOp, operand: $word, compare: $word) -> $word {
            const ORDER: Ordering = Ordering::SeqCst;
            let update = |change: &dyn Fn($word) -> $word| {
                let mut old = word.load(Ordering::Relaxed);
                while let Err(seen) = word.compare_exchange_weak(old, change(old), ORDER, Ordering::Relaxed) {
                    old = seen;
                }
                old
            };
            match op {
                RmwOp::Add => word.fetch_add(operand, ORDER),
                RmwOp::Sub => word.fetch_sub(operand, ORDER),
                RmwOp::Swap => word.swap(operand, ORDER),
                RmwOp::CompareSwap => word.compare_exchange(compare, operand, ORDER, ORDER).unwrap_or_else(|seen| seen),
                RmwOp::And => word.fetch_and(operand, ORDER),
                RmwOp::Or => word.fetch_or(operand, ORDER),
                RmwOp::Xor => word.fetch_xor(operand, ORDER),
                RmwOp::UnsignedMin => word.fetch_min(operand, ORDER),
                RmwOp::UnsignedMax => word.fetch_max(operand, ORDER),
                RmwOp::SignedMin => update(&|old| (old as $signed).min(operand as $signed) as $word),
                RmwOp::SignedMax => update(&|old| (old as $signed).max(operand as $signed) as $word),
                RmwOp::WrapInc => update(&|old| if old >= operand { 0 } else { old + 1 }),
                RmwOp::WrapDec => update(&|old| if old == 0 || old > operand { operand } else { old - 1 }),
            }
        }
    };
}

perform!(perform_u32, AtomicU32, u32, i32);
perform!(perform_u64, AtomicU64, u64, i64);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::ptr::NonNull;

    use super::*;
    use crate::model::memory::{HostPtr, Mapping, MemoryMap, Protection};

    const VA: GpuVa = GpuVa(0x1_0000);

    /// Gives one answer to every AtomicOp and counts the questions.
    struct Answer(Admission, Cell<u32>);

    impl Fabric for Answer {
        fn admit(&self, _op: RmwOp, _width: OperandWidth) -> Admission {
            self.1.set(self.1.get() + 1);
            self.0
        }
    }

    fn with_word(initial: u64, home: Home, admission: Admission, work: impl FnOnce(&Bus<'_>)) -> (u64, u32) {
        let word = AtomicU64::new(initial);
        let memory = MemoryMap::new();
        let host = HostPtr::new(NonNull::from(&word).cast());
        // SAFETY: the word outlives the map, which is dropped at the end of this function.
        unsafe { memory.map(Mapping { va: VA, length: 8, host, home, protection: Protection::ReadWrite }) }.unwrap();
        let fabric = Answer(admission, Cell::new(0));
        work(&Bus::new(memory.view(), &fabric));
        (word.load(Ordering::Relaxed), fabric.1.get())
    }

    #[test]
    fn a_dropped_atomic_op_leaves_memory_alone_and_returns_all_ones() {
        let left = with_word(7, Home::Host, Admission::Dropped, |bus| {
            assert_eq!(bus.rmw_u64(VA, RmwOp::Add, 1, 0), Ok(u64::MAX));
            assert_eq!(bus.rmw_u32(VA, RmwOp::Swap, 1, 0), Ok(u32::MAX));
            assert_eq!(bus.add_u64(VA, 1), Ok(Admission::Dropped));
        });
        assert_eq!(left, (7, 3));
    }

    #[test]
    fn an_atomic_on_device_local_memory_does_not_ask_the_fabric() {
        let left = with_word(7, Home::DeviceLocal, Admission::Dropped, |bus| {
            assert_eq!(bus.rmw_u64(VA, RmwOp::Or, 8, 0), Ok(7));
            assert_eq!(bus.add_u64(VA, 1), Ok(Admission::Performed));
        });
        assert_eq!(left, (16, 0));
    }

    #[test]
    fn a_misaligned_atomic_op_is_a_fault_before_it_reaches_the_fabric() {
        let left = with_word(7, Home::Host, Admission::Performed, |bus| {
            assert!(bus.rmw_u32(VA + 2, RmwOp::Add, 1, 0).is_err());
        });
        assert_eq!(left, (7, 0));
    }

    /// Rows after the operation tables of AMD's GCN3 ISA manual (FLAT_ATOMIC_*).
    #[test]
    fn every_operation_returns_the_old_value_and_stores_what_the_isa_manual_says() {
        const MINUS_2: u32 = -2i32 as u32;
        for (op, old, operand, compare, new) in [
            (RmwOp::Add, u32::MAX, 2, 0, 1),
            (RmwOp::Sub, 1, 2, 0, u32::MAX),
            (RmwOp::Swap, 1, 2, 0, 2),
            (RmwOp::CompareSwap, 5, 9, 5, 9),
            (RmwOp::CompareSwap, 5, 9, 6, 5),
            (RmwOp::And, 0b1100, 0b1010, 0, 0b1000),
            (RmwOp::Or, 0b1100, 0b1010, 0, 0b1110),
            (RmwOp::Xor, 0b1100, 0b1010, 0, 0b0110),
            (RmwOp::SignedMin, 1, MINUS_2, 0, MINUS_2),
            (RmwOp::SignedMax, 1, MINUS_2, 0, 1),
            (RmwOp::UnsignedMin, 1, MINUS_2, 0, 1),
            (RmwOp::UnsignedMax, 1, MINUS_2, 0, MINUS_2),
            (RmwOp::WrapInc, 4, 5, 0, 5),
            (RmwOp::WrapInc, 5, 5, 0, 0),
            (RmwOp::WrapInc, 6, 5, 0, 0),
            (RmwOp::WrapDec, 5, 5, 0, 4),
            (RmwOp::WrapDec, 0, 5, 0, 5),
            (RmwOp::WrapDec, 6, 5, 0, 5),
        ] {
            let left = with_word(u64::from(old), Home::Host, Admission::Performed, |bus| {
                assert_eq!(bus.rmw_u32(VA, op, operand, compare), Ok(old), "{op:?}");
            });
            assert_eq!(left, (u64::from(new), 1), "{op:?}");
            let widen = |value: u32| value as i32 as u64;
            let left = with_word(widen(old), Home::Host, Admission::Performed, |bus| {
                assert_eq!(bus.rmw_u64(VA, op, widen(operand), widen(compare)), Ok(widen(old)), "{op:?}");
            });
            assert_eq!(left.0, widen(new), "{op:?} in 64 bits");
        }
    }
}
