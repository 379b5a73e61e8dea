//! The software GPU's shader cores at work: the founding vector copy of 1,048,576 work-items in workgroups of 256, from its
//! packet to its signal and as a dispatch of the engine alone, both on one core, beside a memcpy of the same bytes; and plain
//! wave instructions.

mod device;

use std::error::Error;
use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use aqlprobe::kernels::{DevicePtr, Kernel, VectorCopyArguments};
use aqlprobe::model::address::GpuVa;
use aqlprobe::model::bus::{Admission, Bus, Fabric, OperandWidth, RmwOp};
use aqlprobe::model::compute::{Engine, InstructionBudget, Launch, Step};
use aqlprobe::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use aqlprobe::model::target::Target;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

use device::Device;

const WORK_ITEMS: usize = 1024 * 1024;
const WORKGROUP: u16 = 256;

const DESCRIPTOR: GpuVa = GpuVa(0x10_0000);
const CODE_OFFSET: u32 = 0x100;
const KERNARG: GpuVa = GpuVa(0x20_0000);
const PACKET: GpuVa = GpuVa(0x30_0000);
const SOURCE: GpuVa = GpuVa(0x1000_0000);
const DESTINATION: GpuVa = GpuVa(0x2000_0000);

/// `out[i] = in[i]` as a compiler writes it for gfx803.
const VECTOR_COPY: [u32; 24] = [
    0xc002_0102,
    0x0000_0004, // s_load_dword s4, s[4:5], 0x4
    0xc00a_0003,
    0x0000_0000, // s_load_dwordx4 s[0:3], s[6:7], 0x0
    0x7e02_0280, // v_mov_b32 v1, 0
    0xbf8c_007f, // s_waitcnt lgkmcnt(0)
    0x8604_ff04,
    0x0000_ffff, // s_and_b32 s4, s4, 0xffff
    0x9208_0408, // s_mul_i32 s8, s8, s4
    0x3200_0008, // v_add_u32 v0, vcc, s8, v0
    0xd28f_0000,
    0x0002_0082, // v_lshlrev_b64 v[0:1], 2, v[0:1]
    0x7e06_0201, // v_mov_b32 v3, s1
    0x3204_0000, // v_add_u32 v2, vcc, s0, v0
    0x3806_0303, // v_addc_u32 v3, vcc, v3, v1, vcc
    0xdc50_0000,
    0x0200_0002, // flat_load_dword v2, v[2:3]
    0x7e06_0203, // v_mov_b32 v3, s3
    0x3200_0002, // v_add_u32 v0, vcc, s2, v0
    0x3802_0303, // v_addc_u32 v1, vcc, v3, v1, vcc
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    0xdc70_0000,
    0x0000_0200, // flat_store_dword v[0:1], v2
    0xbf81_0000, // s_endpgm
];

/// 1000 rounds of four vector instructions and a scalar loop.
const ARITHMETIC: [u32; 9] = [
    0xb000_03e8, // s_movk_i32 s0, 0x3e8
    0x3202_0301, // v_add_u32 v1, vcc, v1, v1
    0x3804_0302, // v_addc_u32 v2, vcc, v2, v1, vcc
    0x2a06_0503, // v_xor_b32 v3, v3, v2
    0x7d92_0503, // v_cmp_lt_u32 vcc, v3, v2
    0x8180_8100, // s_sub_i32 s0, s0, 1
    0xbf07_8000, // s_cmp_lg_u32 s0, 0
    0xbf85_fff9, // s_cbranch_scc1 back to the first v_add_u32
    0xbf81_0000, // s_endpgm
];

struct NoPcie;

impl Fabric for NoPcie {
    fn admit(&self, _op: RmwOp, _width: OperandWidth) -> Admission {
        Admission::Performed
    }
}

fn map(memory: &MemoryMap, va: GpuVa, words: &mut Vec<u32>, protection: Protection) {
    let host = HostPtr::new(NonNull::new(words.as_mut_ptr().cast()).expect("a vector is nowhere null"));
    let mapping = Mapping { va, length: 4 * words.len() as u64, host, home: Home::Host, protection };
    // SAFETY: every vector below lives until the end of the benchmark that uses the map.
    unsafe { memory.map(mapping) }.expect("the ranges do not overlap");
}

/// A kernel descriptor with the dispatch packet in s[4:5], arguments in s[6:7] and the workgroup id in s8, then the code.
fn code_object(code: &[u32]) -> Vec<u32> {
    let mut image = vec![0; CODE_OFFSET as usize / 4 + code.len()];
    image[4] = CODE_OFFSET;
    image[13] = 0x90;
    image[14] = 0x0b;
    image[CODE_OFFSET as usize / 4..].copy_from_slice(code);
    image
}

fn launch(work_items: usize) -> Launch {
    Launch {
        descriptor: DESCRIPTOR,
        dispatch_packet: PACKET,
        queue: GpuVa::NULL,
        kernarg: KERNARG,
        dispatch_id: 0,
        grid: [work_items as u32, 1, 1],
        workgroup: [WORKGROUP, 1, 1],
        group_segment_bytes: 0,
        private_segment_bytes: 0,
        scratch: None,
    }
}

fn dispatch(engine: &mut Engine, memory: &MemoryMap, launch: &Launch) {
    let bus = Bus::new(memory.view(), &NoPcie);
    let mut dispatch = engine.launch(launch, &bus).expect("the descriptor is mapped");
    loop {
        match dispatch.run(&bus, InstructionBudget(1 << 20)) {
            Step::Yielded => {}
            Step::Finished => break,
            Step::Failed(fault) => panic!("{fault}"),
        }
    }
    engine.recycle(dispatch);
}

fn founding_vector_copy(criterion: &mut Criterion) {
    let memory = MemoryMap::new();
    let mut code = code_object(&VECTOR_COPY);
    let halves = |va: GpuVa| [va.0 as u32, (va.0 >> 32) as u32];
    let mut kernarg = [halves(SOURCE), halves(DESTINATION)].concat();
    let mut packet = vec![0, u32::from(WORKGROUP)];
    packet.resize(16, 0);
    let mut source: Vec<u32> = (0..WORK_ITEMS as u32).map(|item| item.wrapping_mul(0x9e37_79b9)).collect();
    let mut destination = vec![0; WORK_ITEMS];
    map(&memory, DESCRIPTOR, &mut code, Protection::ReadExecute);
    map(&memory, KERNARG, &mut kernarg, Protection::ReadOnly);
    map(&memory, PACKET, &mut packet, Protection::ReadOnly);
    map(&memory, SOURCE, &mut source, Protection::ReadOnly);
    map(&memory, DESTINATION, &mut destination, Protection::ReadWrite);

    let mut engine = Engine::new(Target::Gfx803);
    dispatch(&mut engine, &memory, &launch(WORK_ITEMS));
    assert!(source == destination, "the copy must be right before its speed means anything");

    let mut group = criterion.benchmark_group("founding_vector_copy");
    group.throughput(Throughput::Bytes(4 * WORK_ITEMS as u64));
    packet_to_signal(&mut group).expect("the embedded device works");
    group.bench_function("engine alone", |bencher| bencher.iter(|| dispatch(&mut engine, &memory, &launch(WORK_ITEMS))));
    let mut copy = vec![0_u32; WORK_ITEMS];
    group.bench_function("memcpy", |bencher| {
        bencher.iter(|| {
            copy.copy_from_slice(black_box(&source));
            black_box(&copy);
        });
    });
    group.finish();
}

/// The committed kernel, dispatched through a queue as `verify` does.
fn packet_to_signal(group: &mut BenchmarkGroup<'_, WallTime>) -> Result<(), Box<dyn Error>> {
    let device = Device::power_up()?;
    let (source, destination) = (device.buffer(4 * WORK_ITEMS)?, device.buffer(4 * WORK_ITEMS)?);
    for (item, word) in source.u32s().iter().enumerate() {
        word.store((item as u32).wrapping_mul(0x9e37_79b9), Ordering::Relaxed);
    }
    let pointers = VectorCopyArguments { source: DevicePtr(source.address()), destination: DevicePtr(destination.address()) };
    let arguments = device.arguments(&pointers)?;
    let packet = device.packet(Kernel::VectorCopy, WORK_ITEMS as u32, arguments.address())?;
    device.complete(&packet);
    let same = |(a, b): (&AtomicU32, &AtomicU32)| a.load(Ordering::Relaxed) == b.load(Ordering::Relaxed);
    assert!(source.u32s().iter().zip(destination.u32s()).all(same), "the copy must be right before its speed means anything");
    group.bench_function("packet to signal", |bencher| bencher.iter(|| device.complete(&packet)));
    Ok(())
}

fn wave_instructions(criterion: &mut Criterion) {
    let memory = MemoryMap::new();
    let mut code = code_object(&ARITHMETIC);
    map(&memory, DESCRIPTOR, &mut code, Protection::ReadExecute);
    let mut engine = Engine::new(Target::Gfx803);
    let mut group = criterion.benchmark_group("wave_instructions");
    group.throughput(Throughput::Elements(4 * (2 + 7 * 1000)));
    group.bench_function("arithmetic", |bencher| bencher.iter(|| dispatch(&mut engine, &memory, &launch(256))));
    group.finish();

    let mut code = code_object(&[0xbf81_0000]);
    let memory = MemoryMap::new();
    let mut engine = Engine::new(Target::Gfx803);
    map(&memory, DESCRIPTOR, &mut code, Protection::ReadExecute);
    criterion.bench_function("empty_dispatch", |bencher| {
        let mut launch = launch(1);
        launch.workgroup = [1, 1, 1];
        bencher.iter(|| dispatch(&mut engine, &memory, &launch));
    });
}

criterion_group!(benches, founding_vector_copy, wave_instructions);
criterion_main!(benches);
