//! Launches: what waves start with, and that all of them end.

use std::ptr::NonNull;

use proptest::prelude::*;

use super::{Dispatch, Engine, InstructionBudget, Launch, LaunchError, Scratch, Step, WaveFault};
use crate::model::address::GpuVa;
use crate::model::bus::{Admission, Bus, Fabric, OperandWidth, RmwOp};
use crate::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use crate::model::target::Target;

const DESCRIPTOR: GpuVa = GpuVa(0x1_0000_0000);
const CODE_OFFSET: usize = 256;
const OUT: GpuVa = GpuVa(0x2_0000_0000);
const OUT_WORDS: usize = 8192;
const SCRATCH: GpuVa = GpuVa(0x3_0000_0000);
const SCRATCH_WORDS: usize = 4096;

struct Admitting;

impl Fabric for Admitting {
    fn admit(&self, _op: RmwOp, _width: OperandWidth) -> Admission {
        Admission::Performed
    }
}

/// Workgroup ids x, y and z after four user registers; work-item ids in three registers.
const RESOURCES2: u32 = 4 << 1 | 0b111 << 7 | 2 << 11;
/// Kernel arguments in s[0:1], dispatch id in s[2:3].
const PROPERTIES: u32 = 1 << 3 | 1 << 4;

/// A descriptor, a kernel and a page of output. `kernarg` is the output itself, so that `s[0:1]` points at it.
struct Device {
    memory: MemoryMap,
    image: Vec<u32>,
    out: Vec<u32>,
    scratch: Vec<u32>,
}

impl Device {
    fn new(code: &[u32]) -> Self {
        let mut image = vec![0; CODE_OFFSET / 4 + code.len()];
        (image[4], image[13], image[14]) = (CODE_OFFSET as u32, RESOURCES2, PROPERTIES);
        image[CODE_OFFSET / 4..].copy_from_slice(code);
        let mut device = Self { memory: MemoryMap::new(), image, out: vec![0; OUT_WORDS], scratch: vec![0; SCRATCH_WORDS] };
        for (va, words, protection) in [
            (DESCRIPTOR, &mut device.image, Protection::ReadExecute),
            (OUT, &mut device.out, Protection::ReadWrite),
            (SCRATCH, &mut device.scratch, Protection::ReadWrite),
        ] {
            let host = HostPtr::new(NonNull::new(words.as_mut_ptr().cast()).unwrap());
            let mapping = Mapping { va, length: 4 * words.len() as u64, host, home: Home::DeviceLocal, protection };
            // SAFETY: the vectors keep their heap memory for as long as the device that owns them and the map lives.
            unsafe { device.memory.map(mapping) }.unwrap();
        }
        device
    }

    fn bus(&self) -> Bus<'_> {
        Bus::new(self.memory.view(), &Admitting)
    }

    fn word(&self, index: usize) -> u32 {
        self.memory.view().load_u32(OUT + 4 * index as u64).unwrap()
    }

    fn set_word(&self, index: usize, value: u32) {
        self.memory.view().store_u32(OUT + 4 * index as u64, value).unwrap();
    }

    /// Runs to the end in quanta of `budget`; gives the last step and how many quanta it took.
    fn run(&self, launch: &Launch, budget: u32) -> (Step, usize) {
        self.run_on(Target::Gfx803, launch, budget)
    }

    fn run_on(&self, target: Target, launch: &Launch, budget: u32) -> (Step, usize) {
        let bus = self.bus();
        let mut dispatch = Dispatch::new(target, launch, &bus).unwrap();
        for quanta in 1..10_000 {
            match dispatch.run(&bus, InstructionBudget(budget)) {
                Step::Yielded => {}
                end => return (end, quanta),
            }
        }
        panic!("the dispatch did not end");
    }
}

fn launch(grid: [u32; 3], workgroup: [u16; 3]) -> Launch {
    Launch {
        descriptor: DESCRIPTOR,
        dispatch_packet: GpuVa::NULL,
        queue: GpuVa::NULL,
        kernarg: OUT,
        dispatch_id: 0,
        grid,
        workgroup,
        group_segment_bytes: 0,
        private_segment_bytes: 0,
        scratch: None,
    }
}

/// `atomic_add(out[x + 16 * (y + 16 * z)], 1)` with global ids, for workgroups of 5 x 3 x 2.
const MARK_GLOBAL_ID: &[u32] = &[
    0x9204_8504, // s_mul_i32 s4, s4, 5
    0x9205_8305, // s_mul_i32 s5, s5, 3
    0x9206_8206, // s_mul_i32 s6, s6, 2
    0x3200_0004, // v_add_u32 v0, vcc, s4, v0
    0x3202_0205, // v_add_u32 v1, vcc, s5, v1
    0x3204_0406, // v_add_u32 v2, vcc, s6, v2
    0x2402_0284, // v_lshlrev_b32 v1, 4, v1
    0x2404_0488, // v_lshlrev_b32 v2, 8, v2
    0x2800_0300, // v_or_b32 v0, v0, v1
    0x2800_0500, // v_or_b32 v0, v0, v2
    0x2400_0082, // v_lshlrev_b32 v0, 2, v0
    0x7e08_0201, // v_mov_b32 v4, s1
    0x3206_0000, // v_add_u32 v3, vcc, s0, v0
    0x3808_0880, // v_addc_u32 v4, vcc, 0, v4, vcc
    0x7e0a_0281, // v_mov_b32 v5, 1
    0xdd08_0000,
    0x0000_0503, // flat_atomic_add v[3:4], v5
    0xbf81_0000, // s_endpgm
];

#[test]
fn each_work_item_of_a_partial_three_dimensional_grid_runs_once() {
    for budget in [1, 7, 1 << 20] {
        let device = Device::new(MARK_GLOBAL_ID);
        let grid = [13, 7, 5];
        assert_eq!(device.run(&launch(grid, [5, 3, 2]), budget).0, Step::Finished);
        for index in 0..OUT_WORDS {
            let id = [index % 16, index / 16 % 16, index / 256];
            let inside = id[0] < 13 && id[1] < 7 && id[2] < 5;
            assert_eq!(device.word(index), u32::from(inside), "work-item {id:?}, budget {budget}");
        }
    }
}

#[test]
fn a_quantum_is_never_exceeded_and_never_shortened_without_reason() {
    let device = Device::new(MARK_GLOBAL_ID);
    // 2 x 2 x 1 workgroups of one wave with 17 instructions.
    let (step, quanta) = device.run(&launch([10, 6, 2], [5, 3, 2]), 10);
    assert_eq!((step, quanta), (Step::Finished, (4_usize * 17).div_ceil(10)));
}

#[test]
fn an_empty_grid_has_finished() {
    let device = Device::new(MARK_GLOBAL_ID);
    assert_eq!(device.run(&launch([0, 1, 1], [64, 1, 1]), 1), (Step::Finished, 1));
}

#[test]
fn user_and_system_registers_and_exec_are_set() {
    let code = &[
        0x7e04_0202, // v_mov_b32 v2, s2
        0x7e06_0203, // v_mov_b32 v3, s3
        0x7e08_0204, // v_mov_b32 v4, s4
        0x7e0a_027e, // v_mov_b32 v5, exec_lo
        0x7e0c_027f, // v_mov_b32 v6, exec_hi
        0x7e00_0200, // v_mov_b32 v0, s0
        0x7e02_0201, // v_mov_b32 v1, s1
        0xdc7c_0000,
        0x0000_0200, // flat_store_dwordx4 v[0:1], v[2:5]
        0x3200_0090, // v_add_u32 v0, vcc, 16, v0
        0xdc70_0000,
        0x0000_0600, // flat_store_dword v[0:1], v6
        0xbf81_0000, // s_endpgm
    ];
    let device = Device::new(code);
    let mut launch = launch([36, 1, 1], [64, 1, 1]);
    launch.dispatch_id = 0x1234_5678_9abc_def0;
    assert_eq!(device.run(&launch, 100).0, Step::Finished);
    assert_eq!([0, 1, 2, 3, 4].map(|n| device.word(n)), [0x9abc_def0, 0x1234_5678, 0, u32::MAX, 0xf]);
}

/// Every work-item adds its value in LDS after a barrier has passed; the first wave stores the sum of all after another.
const LDS_SUM: &[u32] = &[
    0xbefc_00c1, // s_mov_b32 m0, -1
    0x7e02_0280, // v_mov_b32 v1, 0
    0x7e04_0281, // v_mov_b32 v2, 1
    0xbf8a_0000, // s_barrier
    0xd800_0000,
    0x0000_0201, // ds_add_u32 v1, v2
    0xbf8c_007f, // s_waitcnt lgkmcnt(0)
    0xbf8a_0000, // s_barrier
    0x7d94_0080, // v_cmp_eq_u32 vcc, 0, v0
    0xbe88_206a, // s_and_saveexec_b64 s[8:9], vcc
    0xbf88_000a, // s_cbranch_execz 10
    0xd86c_0000,
    0x0300_0001, // ds_read_b32 v3, v1
    0x8e04_8204, // s_lshl_b32 s4, s4, 2
    0x8000_0400, // s_add_u32 s0, s0, s4
    0x8201_8001, // s_addc_u32 s1, s1, 0
    0x7e08_0200, // v_mov_b32 v4, s0
    0x7e0a_0201, // v_mov_b32 v5, s1
    0xdc70_0000,
    0x0000_0304, // flat_store_dword v[4:5], v3
    0xbf81_0000, // s_endpgm
    0xbf81_0000, // s_endpgm
    0xbf81_0000, // s_endpgm
];

#[test]
fn barriers_hold_every_wave_of_a_workgroup_and_lds_belongs_to_one() {
    for budget in [1, 13, 1 << 20] {
        let device = Device::new(LDS_SUM);
        let mut launch = launch([1000, 1, 1], [300, 1, 1]);
        launch.group_segment_bytes = 4;
        assert_eq!(device.run(&launch, budget).0, Step::Finished);
        assert_eq!([0, 1, 2, 3].map(|n| device.word(n)), [300, 300, 300, 100], "budget {budget}");
    }
}

#[test]
fn a_barrier_does_not_wait_for_waves_that_have_ended() {
    // Waves whose first work-item is not 0 end at once; the other goes through a barrier.
    let code = &[
        0x7e08_0500, // v_readfirstlane_b32 s4, v0
        0xbf07_8004, // s_cmp_lg_u32 s4, 0
        0xbf85_0005, // s_cbranch_scc1 5
        0xbf8a_0000, // s_barrier
        0x7e00_0200, // v_mov_b32 v0, s0
        0x7e02_0201, // v_mov_b32 v1, s1
        0xdc70_0000,
        0x0000_0100, // flat_store_dword v[0:1], v1
        0xbf81_0000, // s_endpgm
    ];
    let device = Device::new(code);
    assert_eq!(device.run(&launch([256, 1, 1], [256, 1, 1]), 1000).0, Step::Finished);
    assert_eq!(device.word(0), (OUT.0 >> 32) as u32);
}

/// Spins, with s_sleep or without, until out[0] is not zero; then out[1] = 1.
const SPIN_ASLEEP: &[u32] = &[
    0x7e00_0200, // v_mov_b32 v0, s0
    0x7e02_0201, // v_mov_b32 v1, s1
    0xbf8e_0001, // s_sleep 1
    0xdc51_0000,
    0x0200_0000, // flat_load_dword v2, v[0:1] glc
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    0x7d94_0480, // v_cmp_eq_u32 vcc, 0, v2
    0xbf87_fffa, // s_cbranch_vccnz -6
    0x3200_0084, // v_add_u32 v0, vcc, 4, v0
    0x7e06_0281, // v_mov_b32 v3, 1
    0xdc70_0000,
    0x0000_0300, // flat_store_dword v[0:1], v3
    0xbf81_0000, // s_endpgm
];
const SPIN_AWAKE: &[u32] = &[
    0x7e00_0200, // v_mov_b32 v0, s0
    0x7e02_0201, // v_mov_b32 v1, s1
    0xbf80_0000, // s_nop 0
    0xdc51_0000,
    0x0200_0000, // flat_load_dword v2, v[0:1] glc
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    0x7d94_0480, // v_cmp_eq_u32 vcc, 0, v2
    0xbf87_fffa, // s_cbranch_vccnz -6
    0x3200_0084, // v_add_u32 v0, vcc, 4, v0
    0x7e06_0281, // v_mov_b32 v3, 1
    0xdc70_0000,
    0x0000_0300, // flat_store_dword v[0:1], v3
    0xbf81_0000, // s_endpgm
];

#[test]
fn spinning_waves_give_the_device_back_and_see_what_the_host_writes() {
    for code in [SPIN_ASLEEP, SPIN_AWAKE] {
        let device = Device::new(code);
        let bus = device.bus();
        let mut dispatch = Dispatch::new(Target::Gfx803, &launch([640, 1, 1], [64, 1, 1]), &bus).unwrap();
        for _ in 0..10 {
            assert_eq!(dispatch.run(&bus, InstructionBudget(5000)), Step::Yielded);
        }
        device.set_word(0, 1);
        let ended = (0..10).any(|_| dispatch.run(&bus, InstructionBudget(50_000)) == Step::Finished);
        assert!(ended, "the spinning waves did not see the store");
        assert_eq!(device.word(1), 1);
    }
}

#[test]
fn a_workgroup_may_wait_for_a_later_one() {
    // Workgroup 0 spins until workgroup 5 has written; without pre-emption it would spin for ever.
    let code = &[
        0x7e00_0200, // v_mov_b32 v0, s0
        0x7e02_0201, // v_mov_b32 v1, s1
        0xbf07_8004, // s_cmp_lg_u32 s4, 0
        0xbf85_0005, // s_cbranch_scc1 5
        0xdc51_0000,
        0x0200_0000, // flat_load_dword v2, v[0:1] glc
        0x7d94_0480, // v_cmp_eq_u32 vcc, 0, v2
        0xbf87_fffc, // s_cbranch_vccnz -4
        0xbf81_0000, // s_endpgm
        0xbf06_8504, // s_cmp_eq_u32 s4, 5
        0xbf84_0002, // s_cbranch_scc0 2
        0xdc70_0000,
        0x0000_0100, // flat_store_dword v[0:1], v1
        0xbf81_0000, // s_endpgm
    ];
    let device = Device::new(code);
    assert_eq!(device.run(&launch([384, 1, 1], [64, 1, 1]), 3000).0, Step::Finished);
    assert_eq!(device.word(0), (OUT.0 >> 32) as u32);
}

#[test]
fn a_failing_wave_ends_the_dispatch_for_good() {
    let device = Device::new(&[
        0xbf80_0000, // s_nop 0
        0xbf92_0002, // s_trap 2
    ]);
    let bus = device.bus();
    let mut engine = Engine::new(Target::Gfx803);
    let mut dispatch = engine.launch(&launch([640, 1, 1], [64, 1, 1]), &bus).unwrap();
    let trap = Step::Failed(WaveFault::Trap { pc: DESCRIPTOR + CODE_OFFSET as u64 + 4, id: 2 });
    assert_eq!(dispatch.run(&bus, InstructionBudget(100)), trap);
    assert_eq!(dispatch.run(&bus, InstructionBudget(100)), trap);
    engine.recycle(dispatch);
    // The next dispatch finds nothing of it, although fewer waves ran to their end than were started.
    let mut dispatch = engine.launch(&launch([0, 1, 1], [64, 1, 1]), &bus).unwrap();
    assert_eq!(dispatch.run(&bus, InstructionBudget(100)), Step::Finished);
}

#[test]
fn code_that_was_replaced_is_decoded_again() {
    let mut device = Device::new(&[
        0xbf81_0000, // s_endpgm
    ]);
    let mut engine = Engine::new(Target::Gfx803);
    let small = launch([64, 1, 1], [64, 1, 1]);
    let finish = |engine: &mut Engine, device: &Device| {
        let bus = device.bus();
        let mut dispatch = engine.launch(&small, &bus).unwrap();
        let step = dispatch.run(&bus, InstructionBudget(100));
        engine.recycle(dispatch);
        step
    };
    assert_eq!(finish(&mut engine, &device), Step::Finished);
    let mapping = device.memory.unmap(DESCRIPTOR).unwrap();
    device.image[CODE_OFFSET / 4] = 0xbf92_0003; // s_trap 3
    // SAFETY: as when the device was made.
    unsafe { device.memory.map(mapping) }.unwrap();
    assert!(matches!(finish(&mut engine, &device), Step::Failed(WaveFault::Trap { id: 3, .. })));
}

/// gfx942: a hundred times every work-item of workgroups of 128 keeps its number in one of four private words, gives its turn away
/// and looks whether it is still there; `out[number]` is the number in the end, or -1.
const REMEMBER: &[u32] = &[
    0x2602_00ff,
    0x0000_03ff, // v_and_b32 v1, 0x3ff, v0
    0x8e02_8704, // s_lshl_b32 s2, s4, 7
    0x6802_0202, // v_add_u32 v1, s2, v1
    0x2606_0283, // v_and_b32 v3, 3, v1
    0x2406_0682, // v_lshlrev_b32 v3, 2, v3
    0xb003_0064, // s_movk_i32 s3, 100
    0xdc70_6004,
    0x007f_0103, // scratch_store_dword v3, v1, off offset:4
    0xbf8e_0001, // s_sleep 1
    0xdc50_6004,
    0x027f_0003, // scratch_load_dword v2, v3, off offset:4
    0x7d9a_0501, // v_cmp_ne_u32 vcc, v1, v2
    0xbf87_0004, // s_cbranch_vccnz 4
    0x8083_8103, // s_sub_u32 s3, s3, 1
    0xbf07_8003, // s_cmp_lg_u32 s3, 0
    0xbf85_fff6, // s_cbranch_scc1 -10
    0xbf82_0001, // s_branch 1
    0x7e04_02c1, // v_mov_b32 v2, -1
    0x2402_0282, // v_lshlrev_b32 v1, 2, v1
    0xdc70_8000,
    0x0000_0201, // global_store_dword v1, v2, s[0:1]
    0xbf81_0000, // s_endpgm
];

fn launch_with_scratch(bytes: u64) -> Launch {
    let scratch = Scratch { base: SCRATCH, bytes, bytes_per_work_item: 32 };
    Launch { private_segment_bytes: 20, scratch: Some(scratch), ..launch([8192, 1, 1], [128, 1, 1]) }
}

#[test]
fn resident_waves_never_share_private_memory_however_little_there_is() {
    // Places for one workgroup of two waves, and for four of them.
    for bytes in [2 * 64 * 32, 8 * 64 * 32] {
        let device = Device::new(REMEMBER);
        assert_eq!(device.run_on(Target::Gfx942, &launch_with_scratch(bytes), 5000).0, Step::Finished);
        for number in 0..8192 {
            assert_eq!(device.word(number as usize), number, "work-item {number}, {bytes} bytes of scratch memory");
        }
    }
}

#[test]
fn too_little_private_memory_is_a_reason_not_to_start() {
    let device = Device::new(REMEMBER);
    let refused = Dispatch::new(Target::Gfx942, &launch_with_scratch(2 * 64 * 32 - 4), &device.bus()).unwrap_err();
    assert_eq!(refused, LaunchError::Scratch { needed: 20, available: 31 });
}

#[test]
fn launches_that_this_device_cannot_start_say_why() {
    let device = Device::new(MARK_GLOBAL_ID);
    let refused = |change: fn(&mut Launch)| {
        let mut launch = launch([64, 1, 1], [64, 1, 1]);
        change(&mut launch);
        Dispatch::new(Target::Gfx803, &launch, &device.bus()).unwrap_err()
    };
    assert!(matches!(refused(|launch| launch.descriptor = GpuVa(64)), LaunchError::Descriptor(_)));
    assert_eq!(refused(|launch| launch.private_segment_bytes = 16), LaunchError::Scratch { needed: 16, available: 0 });
    assert_eq!(refused(|launch| launch.group_segment_bytes = 65537), LaunchError::GroupSegment { needed: 65537, available: 65536 });
    assert_eq!(refused(|launch| launch.workgroup = [1024, 2, 1]), LaunchError::Workgroup { items: 2048, available: 1024 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_grid_runs_each_work_item_once(grid in [1..16_u32, 1..16_u32, 1..8_u32], budget in 1..5000_u32) {
        let device = Device::new(MARK_GLOBAL_ID);
        prop_assert_eq!(device.run(&launch(grid, [5, 3, 2]), budget).0, Step::Finished);
        for index in 0..2048 {
            let id = [index % 16, index / 16 % 16, index / 256];
            let inside = (0..3).all(|n| id[n] < grid[n]);
            prop_assert_eq!(device.word(index as usize), u32::from(inside), "work-item {:?}", id);
        }
    }
}
