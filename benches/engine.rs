//! The software GPU's shader cores at work, for each GPU that they can be, beside what the host does in the same time.
//!
//! The committed kernels, launched on the engine of the calling thread: the founding vector copy of 1,048,576 work-items beside a
//! memcpy of its bytes, an addition of every work-item to one word beside the host's own atomic additions, a reduction through LDS
//! beside the host's sum of the same words. Then the vector copy as `verify` dispatches it, from its packet to its signal, and plain
//! wave instructions.

mod device;
mod shader;
mod slices;

use std::error::Error;
use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use aqlprobe::kernels::{DevicePtr, FetchAddArguments, Kernel, LdsReduceArguments, VectorCopyArguments};
use aqlprobe::model::address::GpuVa;
use aqlprobe::model::bus::{Admission, Bus, Fabric, OperandWidth, RmwOp};
use aqlprobe::model::compute::{Engine, InstructionBudget, Launch, Step};
use aqlprobe::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use aqlprobe::model::target::Target;
use criterion::{Criterion, Throughput};

use device::Device;
use shader::Shader;
use slices::{Claim, Comparison, Iterations};

const WORK_ITEMS: u32 = 1024 * 1024;
const WORKGROUP: u32 = 256;

const SLICES: usize = 41;
/// Of some milliseconds each.
const COPIES: Iterations = Iterations { warm_up: 1, timed: 3 };
const MEMCPYS: Iterations = Iterations { warm_up: 2, timed: 40 };

const DESCRIPTOR: GpuVa = GpuVa(0x10_0000);
const CODE_OFFSET: u32 = 0x100;

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

fn launch(work_items: u32) -> Launch {
    Launch {
        descriptor: DESCRIPTOR,
        dispatch_packet: GpuVa::NULL,
        queue: GpuVa::NULL,
        kernarg: GpuVa::NULL,
        dispatch_id: 0,
        grid: [work_items, 1, 1],
        workgroup: [WORKGROUP as u16, 1, 1],
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

/// Host memory as the device has it: page-aligned.
#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page([u32; 1024]);

fn mixed(index: u32) -> u32 {
    index.wrapping_mul(0x9e37_79b9)
}

fn vector_copy(target: Target) -> Result<(), Box<dyn Error>> {
    let mut shader = Shader::new(target)?;
    let (source, destination) = (shader.words(WORK_ITEMS as usize)?, shader.words(WORK_ITEMS as usize)?);
    shader.fill(source, mixed);
    shader.arguments(&VectorCopyArguments { source, destination });
    shader.run(Kernel::VectorCopy, WORK_ITEMS);
    assert!(shader.read(source) == shader.read(destination), "the copy must be right before its speed means anything");

    let from = vec![Page([7; 1024]); WORK_ITEMS as usize / 1024];
    let mut to = vec![Page([0; 1024]); WORK_ITEMS as usize / 1024];
    let claim =
        Claim { subject: &format!("vector copy of 4 MiB on {target}"), limit: "memcpy", operations: 1, at_most: Some(40.0) };
    let comparison = Comparison::measure(
        claim,
        SLICES,
        || COPIES.time(|| shader.run(Kernel::VectorCopy, WORK_ITEMS)),
        || {
            MEMCPYS.time(|| {
                to.copy_from_slice(black_box(&from));
                black_box(to[0].0[0]);
            })
        },
    );
    println!("{comparison}");
    Ok(())
}

/// Every work-item adds 1 to the same word, again and again.
fn contended_additions(target: Target) -> Result<(), Box<dyn Error>> {
    const ITEMS: u32 = 4096;
    const ROUNDS: u32 = 16;
    let mut shader = Shader::new(target)?;
    let (counter, ran) = (shader.words(1)?, shader.words(ITEMS as usize)?);
    shader.arguments(&FetchAddArguments { counter, ran, rounds: ROUNDS });
    shader.run(Kernel::FetchAdd32, ITEMS);
    assert_eq!(shader.read(counter)[0], ITEMS * ROUNDS, "the sum must be right before its speed means anything");

    let word = AtomicU32::new(0);
    let claim = Claim {
        subject: &format!("contended atomic additions on {target}, each"),
        limit: "the host's own",
        operations: ITEMS * ROUNDS,
        at_most: None,
    };
    let comparison = Comparison::measure(
        claim,
        SLICES,
        || COPIES.time(|| shader.run(Kernel::FetchAdd32, ITEMS)),
        || {
            COPIES.time(|| {
                for _ in 0..ITEMS * ROUNDS {
                    black_box(&word).fetch_add(1, Ordering::SeqCst);
                }
            })
        },
    );
    println!("{comparison}");
    Ok(())
}

/// Sums of 256 words, through LDS and barriers.
fn lds_reduction(target: Target) -> Result<(), Box<dyn Error>> {
    const ITEMS: u32 = 256 * 1024;
    let mut shader = Shader::new(target)?;
    let (input, out) = (shader.words(ITEMS as usize)?, shader.words((ITEMS / WORKGROUP) as usize)?);
    shader.fill(input, mixed);
    shader.arguments(&LdsReduceArguments { input, out });
    shader.run(Kernel::LdsReduce, ITEMS);
    let words = shader.read(input);
    let sums =
        || words.chunks_exact(WORKGROUP as usize).map(|group| group.iter().fold(0, |sum: u32, word| sum.wrapping_add(*word)));
    assert!(sums().eq(shader.read(out)), "the sums must be right before their speed means anything");

    let claim =
        Claim { subject: &format!("LDS reduction of 1 MiB on {target}"), limit: "the host's sum", operations: 1, at_most: None };
    let comparison = Comparison::measure(
        claim,
        SLICES,
        || COPIES.time(|| shader.run(Kernel::LdsReduce, ITEMS)),
        || MEMCPYS.time(|| sums().for_each(|sum| _ = black_box(sum))),
    );
    println!("{comparison}");
    Ok(())
}

/// The committed kernel, dispatched through a queue as `verify` does.
fn packet_to_signal(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut device = Device::power_up()?;
    let bytes = 4 * WORK_ITEMS as usize;
    let (source, destination) = (device.buffer(bytes)?, device.buffer(bytes)?);
    for (item, word) in (0..).zip(source.u32s()) {
        word.store(mixed(item), Ordering::Relaxed);
    }
    let pointers = VectorCopyArguments { source: DevicePtr(source.address()), destination: DevicePtr(destination.address()) };
    let arguments = device.arguments(&pointers)?;
    let packet = device.packet(Kernel::VectorCopy, WORK_ITEMS, arguments.address())?;
    device.complete(&packet);
    let same = |(a, b): (&AtomicU32, &AtomicU32)| a.load(Ordering::Relaxed) == b.load(Ordering::Relaxed);
    assert!(source.u32s().iter().zip(destination.u32s()).all(same), "the copy must be right before its speed means anything");
    let mut group = criterion.benchmark_group("founding_vector_copy");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("packet to signal", |bencher| bencher.iter(|| device.complete(&packet)));
    group.finish();
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    packet_to_signal(&mut criterion)?;
    wave_instructions(&mut criterion);
    criterion.final_summary();
    for target in Target::ALL {
        vector_copy(target)?;
        contended_additions(target)?;
        lds_reduction(target)?;
    }
    Ok(())
}
