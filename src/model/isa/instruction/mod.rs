//! The decoded form of an instruction: what to do and with which operands, free of encodings and generations.

mod operations;

pub use operations::*;

use super::operand::{GlobalAddress, OperandSize, ScalarRegister, ScalarSource, ScratchAddress, VectorRegister, VectorSource};
use crate::model::bus::{OperandWidth, RmwOp};

/// One decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "operands are named as in the instruction set: destination, a, b, c")]
pub enum Instruction {
    /// Hints and cache operations, which have nothing to do in a sequential model.
    Nothing,
    /// `s_waitcnt` on stores: they are visible to everyone afterwards.
    WaitForStores,
    /// `s_waitcnt` on anything else, and L1 invalidations.
    Order,
    /// The wave has ended.
    EndProgram,
    /// The wave gives its turn away.
    Sleep,
    /// The wave waits for its workgroup.
    Barrier,
    /// The wave gives up.
    Trap {
        id: u8,
    },
    /// To `target`, a distance in words from the next instruction.
    Branch {
        condition: Condition,
        words: i16,
    },
    /// The address of the next instruction.
    GetProgramCounter {
        destination: ScalarRegister,
    },
    /// Jump to a register pair.
    SetProgramCounter {
        source: ScalarSource,
    },
    /// Jump to a register pair, keeping the address of the next instruction.
    SwapProgramCounter {
        destination: ScalarRegister,
        source: ScalarSource,
    },
    ScalarUnary {
        op: ScalarUnary,
        destination: ScalarRegister,
        a: ScalarSource,
    },
    /// Keeps EXEC, or its low half, and combines it with `a`.
    SaveExec {
        op: Bitwise,
        size: OperandSize,
        destination: ScalarRegister,
        a: ScalarSource,
    },
    /// Combines EXEC, or its low half, with `a`, and keeps the result elsewhere too.
    WriteExec {
        op: Bitwise,
        size: OperandSize,
        destination: ScalarRegister,
        a: ScalarSource,
    },
    ScalarBinary {
        op: ScalarBinary,
        destination: ScalarRegister,
        a: ScalarSource,
        b: ScalarSource,
    },
    ScalarCompare {
        test: ScalarTest,
        a: ScalarSource,
        b: ScalarSource,
    },
    ScalarImmediate {
        op: ScalarImmediate,
        register: ScalarRegister,
        value: i16,
    },
    /// Bits of a hardware register.
    GetHardwareRegister {
        destination: ScalarRegister,
        register: HardwareRegister,
        field: BitField,
    },
    ScalarLoad {
        destination: ScalarRegister,
        base: ScalarRegister,
        offset: ScalarOffset,
        words: u8,
    },
    /// The device clock.
    ReadClock {
        destination: ScalarRegister,
    },
    VectorUnary {
        op: VectorUnary,
        destination: VectorRegister,
        a: VectorSource,
    },
    FloatUnary {
        op: FloatUnary,
        destination: VectorRegister,
        a: VectorSource,
        modifiers: FloatModifiers,
    },
    VectorBinary {
        op: VectorBinary,
        destination: VectorRegister,
        a: VectorSource,
        b: VectorSource,
    },
    FloatBinary {
        op: FloatBinary,
        destination: VectorRegister,
        a: VectorSource,
        b: VectorSource,
        modifiers: FloatModifiers,
    },
    Carry {
        op: CarryOp,
        destination: VectorRegister,
        carry_out: ScalarRegister,
        a: VectorSource,
        b: VectorSource,
        carry_in: ScalarRegister,
    },
    /// `b` where the mask is set, else `a`.
    Select {
        destination: VectorRegister,
        a: VectorSource,
        b: VectorSource,
        mask: ScalarRegister,
    },
    VectorTernary {
        op: VectorTernary,
        destination: VectorRegister,
        a: VectorSource,
        b: VectorSource,
        c: VectorSource,
    },
    FloatTernary {
        op: FloatTernary,
        destination: VectorRegister,
        a: VectorSource,
        b: VectorSource,
        c: VectorSource,
        modifiers: FloatModifiers,
    },
    /// A 16-bit operation that leaves the upper half of the destination as it was.
    LowHalfBinary {
        op: VectorBinary,
        destination: VectorRegister,
        a: VectorSource,
        b: VectorSource,
    },
    /// A 16-bit operation that leaves the upper half of the destination as it was.
    LowHalfTernary {
        op: VectorTernary,
        destination: VectorRegister,
        a: VectorSource,
        b: VectorSource,
        c: VectorSource,
    },
    /// Two operations at once: both read their sources before either writes.
    Dual {
        x: DualHalf,
        y: DualHalf,
        literal: u32,
    },
    /// Exchanges two registers.
    SwapRegisters {
        a: VectorRegister,
        b: VectorRegister,
    },
    /// Lanes below this one whose bit is set in half of `a`, plus `b`.
    MaskedCount {
        half: MaskHalf,
        destination: VectorRegister,
        a: VectorSource,
        b: VectorSource,
    },
    Shift64 {
        op: Shift64,
        destination: VectorRegister,
        amount: VectorSource,
        value: VectorSource,
    },
    /// 32 x 32 + 64 bits.
    MultiplyAdd64 {
        signedness: Signedness,
        destination: VectorRegister,
        carry_out: ScalarRegister,
        a: VectorSource,
        b: VectorSource,
        c: VectorSource,
    },
    VectorCompare {
        test: VectorTest,
        effect: CompareEffect,
        destination: ScalarRegister,
        a: VectorSource,
        b: VectorSource,
    },
    ReadFirstLane {
        destination: ScalarRegister,
        a: VectorSource,
    },
    ReadLane {
        destination: ScalarRegister,
        a: VectorSource,
        lane: ScalarSource,
    },
    WriteLane {
        destination: VectorRegister,
        value: ScalarSource,
        lane: ScalarSource,
    },
    FlatLoad {
        element: Element,
        coherence: Coherence,
        destination: VectorRegister,
        address: GlobalAddress,
    },
    FlatStore {
        element: Element,
        address: GlobalAddress,
        data: VectorRegister,
    },
    FlatAtomic {
        op: RmwOp,
        width: OperandWidth,
        old: OldValue,
        destination: VectorRegister,
        address: GlobalAddress,
        data: VectorRegister,
    },
    ScratchLoad {
        element: Element,
        destination: VectorRegister,
        address: ScratchAddress,
    },
    ScratchStore {
        element: Element,
        address: ScratchAddress,
        data: VectorRegister,
    },
    LdsLoad {
        element: Element,
        destination: VectorRegister,
        address: VectorRegister,
        offset: u16,
    },
    LdsStore {
        element: Element,
        address: VectorRegister,
        data: VectorRegister,
        offset: u16,
    },
    LdsLoadPair {
        width: OperandWidth,
        destination: VectorRegister,
        address: VectorRegister,
        offsets: LdsPair,
    },
    LdsStorePair {
        width: OperandWidth,
        address: VectorRegister,
        first: VectorRegister,
        second: VectorRegister,
        offsets: LdsPair,
    },
    LdsAtomic {
        op: LdsAtomic,
        width: OperandWidth,
        old: OldValue,
        destination: VectorRegister,
        address: VectorRegister,
        data: [VectorRegister; 2],
        offset: u16,
    },
    LaneExchange {
        op: LaneExchange,
        destination: VectorRegister,
        address: VectorRegister,
        data: VectorRegister,
    },
}

impl Instruction {
    /// Whether straight-line code ends here: the next instruction is elsewhere, not yet, or never.
    #[must_use]
    pub const fn ends_block(&self) -> bool {
        matches!(
            self,
            Self::EndProgram
                | Self::Sleep
                | Self::Barrier
                | Self::Trap { .. }
                | Self::Branch { .. }
                | Self::SetProgramCounter { .. }
                | Self::SwapProgramCounter { .. }
        )
    }
}
