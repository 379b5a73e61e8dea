//! Instruction semantics, against the GCN3 reference guide. Words are what LLVM's assembler makes of the text beside them.

mod flat;
mod gfx11;
mod gfx9;
mod lds;
mod private;
mod random;
mod reference;
mod scalar;
mod vector;

use std::ptr::NonNull;

use super::{Pause, run};
use crate::model::address::GpuVa;
use crate::model::bus::{Admission, Bus, Fabric, OperandWidth, RmwOp};
use crate::model::isa::LANES;
use crate::model::isa::code::CodeCache;
use crate::model::isa::lds::Lds;
use crate::model::isa::operand::{ScalarRegister, VectorRegister};
use crate::model::isa::wave::Wave;
use crate::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use crate::model::target::{Target, WaveSize};

const CODE: GpuVa = GpuVa(0x1_0000_0000);
/// Up to the last byte below a carry into the upper half of an address.
const DATA: GpuVa = GpuVa(0x2_ffff_f000);
const DATA_WORDS: usize = 1024;
const SCRATCH: GpuVa = GpuVa(0x4_0000_0000);
/// 64 bytes for each lane of the widest wave.
const SCRATCH_WORDS: usize = 16 * LANES;

const fn s_endpgm(target: Target) -> u32 {
    match target {
        Target::Gfx803 | Target::Gfx942 => 0xbf81_0000,
        Target::Gfx1100 => 0xbfb0_0000,
    }
}

/// Whether AtomicOps arrive.
struct Path(Admission);

impl Fabric for Path {
    fn admit(&self, _op: RmwOp, _width: OperandWidth) -> Admission {
        self.0
    }
}

/// One wave with code, a page of data, 256 bytes of LDS and, when it is given any, 64 bytes of private memory per lane.
struct Bench {
    wave: Wave,
    lds: Lds,
    data: Vec<u32>,
    scratch: Vec<u32>,
    path: Path,
    target: Target,
}

impl Bench {
    fn new() -> Self {
        Self::of(Target::Gfx803)
    }

    fn of(target: Target) -> Self {
        let mut wave = Wave::new();
        wave.reset(WaveSize::Lanes64, CODE, u64::MAX, 0);
        let mut lds = Lds::default();
        lds.reset(256);
        Self { wave, lds, data: vec![0; DATA_WORDS], scratch: vec![0; SCRATCH_WORDS], path: Path(Admission::Performed), target }
    }

    fn s(&self, number: u32) -> u32 {
        self.wave.scalar(ScalarRegister::new(number).unwrap())
    }

    fn s64(&self, number: u32) -> u64 {
        self.wave.scalar_pair(ScalarRegister::new(number).unwrap())
    }

    fn set_s(&mut self, number: u32, value: u32) {
        self.wave.set_scalar(ScalarRegister::new(number).unwrap(), value);
    }

    fn set_s64(&mut self, number: u32, value: u64) {
        self.wave.set_scalar_pair(ScalarRegister::new(number).unwrap(), value);
    }

    fn v(&self, number: u8) -> [u32; LANES] {
        self.wave.vector(VectorRegister(number)).0
    }

    fn v64(&self, number: u8, lane: usize) -> u64 {
        u64::from(self.v(number)[lane]) | u64::from(self.v(number + 1)[lane]) << 32
    }

    fn set_v(&mut self, number: u8, value: impl Fn(usize) -> u32) {
        self.wave.vector_mut(VectorRegister(number)).0 = std::array::from_fn(value);
    }

    fn set_v64(&mut self, number: u8, value: impl Fn(usize) -> u64) {
        self.set_v(number, |lane| value(lane) as u32);
        self.set_v(number + 1, |lane| (value(lane) >> 32) as u32);
    }

    fn vcc(&self) -> u64 {
        self.s64(106)
    }

    /// Runs `code` from its start until the wave pauses.
    fn pause(&mut self, code: &[u32], budget: &mut u32) -> Pause {
        self.wave.pc = CODE;
        self.go_on(code, budget)
    }

    fn go_on(&mut self, code: &[u32], budget: &mut u32) -> Pause {
        let mut code = code.to_vec();
        let memory = MemoryMap::new();
        for (va, words, protection) in [
            (CODE, &mut code, Protection::ReadExecute),
            (DATA, &mut self.data, Protection::ReadWrite),
            (SCRATCH, &mut self.scratch, Protection::ReadWrite),
        ] {
            let host = HostPtr::new(NonNull::new(words.as_mut_ptr().cast()).unwrap());
            let mapping = Mapping { va, length: 4 * words.len() as u64, host, home: Home::Host, protection };
            // SAFETY: the vectors live, unmoved, until the map is dropped at the end of this function.
            unsafe { memory.map(mapping) }.unwrap();
        }
        let bus = Bus::new(memory.view(), &self.path);
        let mut cache = CodeCache::new(self.target);
        cache.revalidate(&bus.memory);
        run(&mut self.wave, &mut self.lds, &mut cache, &bus, budget)
    }

    /// Runs `code` and an `s_endpgm` behind it to the end.
    fn run(&mut self, code: &[u32]) {
        let mut budget = 10_000;
        let pause = self.pause(&[code, &[s_endpgm(self.target)]].concat(), &mut budget);
        assert_eq!(pause, Pause::Ended);
    }
}

#[test]
fn a_wave_stops_exactly_where_its_budget_ends_and_goes_on_from_there() {
    let code = &[
        0x8000_8100, // s_add_u32 s0, s0, 1
        0x8000_8100, // s_add_u32 s0, s0, 1
        0x8000_8100, // s_add_u32 s0, s0, 1
        0xbf82_fffc, // s_branch -4
    ];
    let mut bench = Bench::new();
    for (given, additions) in [(6, 5), (6, 9), (1, 10), (2, 12)] {
        let mut budget = given;
        assert_eq!(bench.go_on(code, &mut budget), Pause::Preempted);
        assert_eq!((budget, bench.s(0)), (0, additions));
    }
}

#[test]
fn an_unknown_instruction_faults_only_when_it_is_reached_and_names_its_words() {
    // s_branch over an image instruction; then the same image instruction in the way.
    let mut bench = Bench::new();
    bench.run(&[0xbf82_0002, 0xf000_0100, 0x0000_0000]);
    let fault = bench.pause(&[0x7e00_0280, 0xf000_0100, 0x0000_0000], &mut 10);
    assert_eq!(
        fault,
        Pause::Failed(crate::model::isa::WaveFault::IllegalInstruction { pc: CODE + 4, words: vec![0xf000_0100, 0] })
    );
    assert_eq!(bench.v(0), [0; LANES], "v_mov_b32 v0, 0 before it was executed");
}

#[test]
fn running_off_the_end_of_the_code_is_a_memory_fault_of_the_fetch() {
    let fault = Bench::new().pause(
        &[
            0xbf80_0000, // s_nop 0
        ],
        &mut 10,
    );
    let Pause::Failed(crate::model::isa::WaveFault::Memory { pc, fault }) = fault else { panic!("{fault:?}") };
    assert_eq!((pc, fault.va, fault.access), (CODE + 4, CODE + 4, crate::model::memory::Access::Execute));
}

#[test]
fn s_trap_names_its_number() {
    let fault = Bench::new().pause(
        &[
            0xbf80_0000, // s_nop 0
            0xbf92_0002, // s_trap 2
        ],
        &mut 10,
    );
    assert_eq!(fault, Pause::Failed(crate::model::isa::WaveFault::Trap { pc: CODE + 4, id: 2 }));
}

#[test]
fn s_sleep_and_s_barrier_give_the_turn_away_and_go_on_behind() {
    let code = &[
        0xbf8e_0001, // s_sleep 1
        0xbf8a_0000, // s_barrier
        0xbe80_0087, // s_mov_b32 s0, 7
        0xbf81_0000, // s_endpgm
    ];
    let mut bench = Bench::new();
    assert_eq!(bench.pause(code, &mut 10), Pause::Asleep);
    assert_eq!(bench.go_on(code, &mut 10), Pause::AtBarrier);
    assert_eq!(bench.go_on(code, &mut 10), Pause::Ended);
    assert_eq!(bench.s(0), 7);
}
