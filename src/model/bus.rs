//! What the packet processor and the waves execute against: memory, and the fabric that admits AtomicOps to the host.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::address::GpuVa;
use super::memory::{Home, MapView, MemoryFault};

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
}

impl<'a> Bus<'a> {
    /// Joins a view of memory with the path of the device.
    #[must_use]
    pub fn new(memory: MapView<'a>, fabric: &'a dyn Fabric) -> Self {
        Self { memory, fabric }
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
        if home == Home::Host && self.fabric.admit(op, OperandWidth::Bits32) == Admission::Dropped {
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
        let (word, home) = self.memory.atomic_u64(va)?;
        if home == Home::Host && self.fabric.admit(RmwOp::Add, OperandWidth::Bits64) == Admission::Dropped {
            return Ok(Admission::Dropped);
        }
        word.fetch_add(addend, Ordering::SeqCst);
        Ok(Admission::Performed)
    }

    /// The 64-bit form of [`Self::rmw_u32`].
    ///
    /// # Errors
    /// A memory fault.
    #[inline]
    pub fn rmw_u64(&self, va: GpuVa, op: RmwOp, operand: u64, compare: u64) -> Result<u64, MemoryFault> {
        let (word, home) = self.memory.atomic_u64(va)?;
        if home == Home::Host && self.fabric.admit(op, OperandWidth::Bits64) == Admission::Dropped {
            return Ok(!0);
        }
        Ok(perform_u64(word, op, operand, compare))
    }
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
