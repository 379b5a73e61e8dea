//! AMD's own kernels (the ten code objects of rocrtst) on the interpreter, for each of its targets: code that we did not compile.
//!
//! `tests/rocrtst/run` fetches them; they are never part of this repository.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::PathBuf;
use std::ptr::NonNull;

use aqlprobe::model::address::GpuVa;
use aqlprobe::model::bus::{Admission, Bus, Fabric, OperandWidth, RmwOp};
use aqlprobe::model::compute::{Dispatch, InstructionBudget, Launch, Step, WaveFault};
use aqlprobe::model::memory::{Access, Home, HostPtr, Mapping, MemoryMap, Protection};
use aqlprobe::model::target::Target;
use object::{Object, ObjectSegment, ObjectSymbol};

const IMAGE: GpuVa = GpuVa(0x1_0000_0000);
const KERNARG: GpuVa = GpuVa(0x2_0000_0000);
const PACKET: GpuVa = GpuVa(0x3_0000_0000);
const BUFFERS: [GpuVa; 3] = [GpuVa(0x4_0000_0000), GpuVa(0x5_0000_0000), GpuVa(0x6_0000_0000)];
const ITEMS: usize = 1000;
const WORKGROUP: u16 = 256;

struct Admitting;

impl Fabric for Admitting {
    fn admit(&self, _op: RmwOp, _width: OperandWidth) -> Admission {
        Admission::Performed
    }
}

/// One kernel of one code object with three buffers of `ITEMS` 64-bit words.
struct Kernel {
    target: Target,
    memory: MemoryMap,
    descriptor: GpuVa,
    image: Vec<u64>,
    kernarg: Vec<u64>,
    packet: Vec<u64>,
    buffers: [Vec<u64>; 3],
}

/// The targets that the interpreter executes.
const TARGETS: [Target; 2] = [Target::Gfx803, Target::Gfx1100];

/// Runs a test for each target; what it prints names the target that failed.
fn on_every_target(test: impl Fn(Target)) {
    for target in TARGETS {
        println!("{target}");
        test(target);
    }
}

fn code_object(target: Target, file: &str) -> Vec<u8> {
    let folder = std::env::var_os("AQLPROBE_ROCRTST_DIR").expect(
        "AQLPROBE_ROCRTST_DIR must name the folder with a folder of AMD's code objects for each target: use tests/rocrtst/run",
    );
    let path = PathBuf::from(folder).join(target.name()).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Kernel {
    fn load(target: Target, file: &str, name: &str, arguments: &[u64]) -> Self {
        let bytes = code_object(target, file);
        let elf = object::File::parse(&*bytes).unwrap();
        let length = elf.segments().map(|segment| segment.address() + segment.size()).max().unwrap();
        let mut image = vec![0_u8; length as usize];
        for segment in elf.segments() {
            let data = segment.data().unwrap();
            image[segment.address() as usize..][..data.len()].copy_from_slice(data);
        }
        let symbol = format!("{name}.kd");
        let descriptor = elf.dynamic_symbols().find(|found| found.name() == Ok(&symbol)).unwrap().address();
        let image = image.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let mut kernarg = arguments.to_vec();
        kernarg.resize(32, 0);
        let mut packet = vec![0; 8];
        // Workgroup size x is the third 16-bit field of a dispatch packet.
        packet[0] = u64::from(WORKGROUP) << 32;
        Self {
            target,
            memory: MemoryMap::new(),
            descriptor: IMAGE + descriptor,
            image: image.collect(),
            kernarg,
            packet,
            buffers: std::array::from_fn(|_| vec![0; ITEMS]),
        }
    }

    fn map(&mut self) {
        let [first, second, third] = &mut self.buffers;
        for (va, words, protection) in [
            (IMAGE, &mut self.image, Protection::ReadExecute),
            (KERNARG, &mut self.kernarg, Protection::ReadOnly),
            (PACKET, &mut self.packet, Protection::ReadOnly),
            (BUFFERS[0], first, Protection::ReadWrite),
            (BUFFERS[1], second, Protection::ReadWrite),
            (BUFFERS[2], third, Protection::ReadWrite),
        ] {
            let host = HostPtr::new(NonNull::from(&mut words[0]).cast());
            let mapping = Mapping { va, length: 8 * words.len() as u64, host, home: Home::Host, protection };
            // SAFETY: the vectors keep their heap memory for as long as the kernel that owns them and the map lives.
            unsafe { self.memory.map(mapping) }.unwrap();
        }
    }

    fn start(&self, bus: &Bus<'_>) -> Dispatch {
        let launch = Launch {
            descriptor: self.descriptor,
            dispatch_packet: PACKET,
            queue: GpuVa::NULL,
            kernarg: KERNARG,
            dispatch_id: 0,
            grid: [ITEMS as u32, 1, 1],
            workgroup: [WORKGROUP, 1, 1],
            group_segment_bytes: 4096,
            private_segment_bytes: 0,
            scratch: None,
        };
        Dispatch::new(self.target, &launch, bus).unwrap()
    }

    /// Runs to the end, which must come soon.
    fn run(&mut self) -> Step {
        self.map();
        let bus = Bus::new(self.memory.view(), &Admitting);
        let mut dispatch = self.start(&bus);
        for _ in 0..100 {
            match dispatch.run(&bus, InstructionBudget(10_000)) {
                Step::Yielded => {}
                end => return end,
            }
        }
        panic!("the kernel did not end");
    }

    fn word(&self, buffer: usize, index: usize) -> u32 {
        self.memory.view().load_u32(BUFFERS[buffer] + 4 * index as u64).unwrap()
    }

    fn fill(&mut self, buffer: usize, value: impl Fn(usize) -> u32) {
        for (n, pair) in self.buffers[buffer].iter_mut().enumerate() {
            *pair = u64::from(value(2 * n)) | u64::from(value(2 * n + 1)) << 32;
        }
    }
}

fn buffers() -> [u64; 3] {
    BUFFERS.map(|va| va.0)
}

fn input(item: usize) -> u32 {
    (item as u32).wrapping_mul(0x9e37_79b9)
}

#[test]
fn vector_copy_copies() {
    on_every_target(|target| {
        let mut kernel = Kernel::load(target, "vector_copy_kernels.hsaco", "vector_copy", &buffers());
        kernel.fill(0, input);
        assert_eq!(kernel.run(), Step::Finished);
        (0..ITEMS).for_each(|item| assert_eq!(kernel.word(1, item), input(item), "item {item}"));
        assert_eq!(kernel.word(1, ITEMS), 0, "nothing behind the grid");
    });
}

#[test]
fn empty_kernel_ends() {
    on_every_target(|target| {
        assert_eq!(Kernel::load(target, "dispatch_time_kernels.hsaco", "empty_kernel", &[]).run(), Step::Finished);
    });
}

#[test]
fn square_squares_as_many_as_it_is_told() {
    on_every_target(|target| {
        let mut kernel = Kernel::load(target, "test_case_template_kernels.hsaco", "square", &[BUFFERS[1].0, BUFFERS[0].0, 900]);
        kernel.fill(0, input);
        assert_eq!(kernel.run(), Step::Finished);
        for item in 0..ITEMS {
            let expected = if item < 900 { input(item).wrapping_mul(input(item)) } else { 0 };
            assert_eq!(kernel.word(1, item), expected, "item {item}");
        }
    });
}

#[test]
fn gpu_read_write_copies_the_first_buffer_to_the_third_and_numbers_the_second() {
    on_every_target(|target| {
        let mut kernel = Kernel::load(target, "gpuReadWrite_kernels.hsaco", "gpuReadWrite", &buffers());
        kernel.fill(0, input);
        assert_eq!(kernel.run(), Step::Finished);
        for item in 0..ITEMS {
            assert_eq!((kernel.word(2, item), kernel.word(1, item)), (input(item), item as u32), "item {item}");
        }
    });
}

#[test]
fn group_memory_dynamic_copies_through_lds_up_to_its_limit() {
    on_every_target(|target| {
        let arguments = [BUFFERS[0].0, BUFFERS[1].0, 800 << 32];
        let mut kernel = Kernel::load(target, "groupMemoryDynamic_kernels.hsaco", "group_memory_dynamic", &arguments);
        kernel.fill(0, input);
        assert_eq!(kernel.run(), Step::Finished);
        for item in 0..ITEMS {
            assert_eq!(kernel.word(1, item), if item <= 800 { input(item) } else { 0 }, "item {item}");
        }
    });
}

#[test]
fn get_hw_id_names_a_compute_unit_for_each_workgroup() {
    on_every_target(|target| {
        let mut kernel = Kernel::load(target, "cu_mask_kernels.hsaco", "get_hw_id", &[BUFFERS[0].0]);
        assert_eq!(kernel.run(), Step::Finished);
        let units: Vec<u32> = (0..ITEMS).map(|item| kernel.word(0, item)).collect();
        units.chunks(usize::from(WORKGROUP)).for_each(|group| assert!(group.iter().all(|unit| *unit == group[0])));
        assert!(units[0] != units[256], "two workgroups at once have two compute units");
    });
}

/// What an atomic kernel leaves: `(first buffer, second buffer, third buffer)` of an item with these two values and operand.
type Outcome = fn(u32, u32, u32) -> (u32, u32, u32);

#[test]
fn every_atomic_kernel_updates_two_cells_and_stores_the_old_value() {
    on_every_target(|target| {
        const OPERAND: u32 = 0x0f0f_1234;
        let cases: [(&str, Outcome); 10] = [
            ("test_atomic_add", |a, b, k| (a.wrapping_add(k), b.wrapping_add(k), a)),
            ("test_atomic_sub", |a, b, k| (a.wrapping_sub(k), b.wrapping_sub(k), a)),
            ("test_atomic_and", |a, b, k| (a & k, b & k, a)),
            ("test_atomic_or", |a, b, k| (a | k, b | k, a)),
            ("test_atomic_xor", |a, b, k| (a ^ k, b ^ k, a)),
            ("test_atomic_xchg", |a, _, k| (k, k, a)),
            ("test_atomic_min", |a, b, k| ((a as i32).min(k as i32) as u32, (b as i32).min(k as i32) as u32, a)),
            ("test_atomic_max", |a, b, k| ((a as i32).max(k as i32) as u32, (b as i32).max(k as i32) as u32, a)),
            ("test_atomic_inc", |a, b, _| (a.wrapping_add(4), b.wrapping_add(4), a)),
            ("test_atomic_dec", |a, b, _| (a.wrapping_sub(4), b.wrapping_sub(4), a)),
        ];
        for (name, outcome) in cases {
            let mut arguments = buffers().to_vec();
            // inc and dec take no operand: a global offset of zero stands there.
            let takes_operand = !matches!(name, "test_atomic_inc" | "test_atomic_dec");
            arguments.push(if takes_operand { u64::from(OPERAND) } else { 0 });
            let mut kernel = Kernel::load(target, "atomicOperations_kernels.hsaco", name, &arguments);
            kernel.fill(0, input);
            kernel.fill(1, |item| input(item + ITEMS));
            assert_eq!(kernel.run(), Step::Finished, "{name}");
            for item in 0..ITEMS {
                let found = (kernel.word(0, item), kernel.word(1, item), kernel.word(2, item));
                assert_eq!(found, outcome(input(item), input(item + ITEMS), OPERAND), "{name}, item {item}");
            }
        }
    });
}

#[test]
fn signal_store_kernels_write_zero() {
    on_every_target(|target| {
        for (name, cleared) in [("signal_st_rlx_kernel", 1), ("signal_st_rlx_kernel_multi", ITEMS)] {
            let mut kernel = Kernel::load(target, "signal_operations_kernels.hsaco", name, &[BUFFERS[0].0]);
            kernel.buffers[0].fill(7);
            assert_eq!(kernel.run(), Step::Finished, "{name}");
            for item in 0..ITEMS {
                assert_eq!(kernel.word(0, 2 * item), if item < cleared { 0 } else { 7 }, "{name}, signal {item}");
            }
        }
    });
}

#[test]
fn signal_wait_kernels_spin_until_the_host_writes_zero() {
    on_every_target(|target| {
        for name in ["signal_wait_kernel", "signal_wait_kernel_multi"] {
            let mut kernel = Kernel::load(target, "signal_operations_kernels.hsaco", name, &[BUFFERS[0].0]);
            kernel.buffers[0].fill(1 << 40);
            kernel.map();
            let bus = Bus::new(kernel.memory.view(), &Admitting);
            let mut dispatch = kernel.start(&bus);
            for _ in 0..5 {
                assert_eq!(dispatch.run(&bus, InstructionBudget(2000)), Step::Yielded, "{name}");
            }
            (0..ITEMS as u64).for_each(|signal| bus.memory.store_u64(BUFFERS[0] + 8 * signal, 0).unwrap());
            assert!((0..100).any(|_| dispatch.run(&bus, InstructionBudget(10_000)) == Step::Finished), "{name} did not see it");
        }
    });
}

#[test]
fn vector_add_debug_trap_adds_and_then_traps() {
    on_every_target(|target| {
        let mut kernel = Kernel::load(target, "vector_add_debug_trap_kernels.hsaco", "vector_add_debug_trap", &buffers());
        kernel.fill(0, input);
        kernel.fill(1, |item| item as u32);
        let step = kernel.run();
        assert!(matches!(step, Step::Failed(WaveFault::Trap { id: 2, .. })), "{step:?}");
        // What the smallest wave has done before it traps.
        (0..32).for_each(|item| assert_eq!(kernel.word(2, item), input(item).wrapping_add(item as u32), "item {item}"));
    });
}

#[test]
fn vector_add_memory_fault_stores_outside_and_faults() {
    on_every_target(|target| {
        let arguments = [BUFFERS[0].0, BUFFERS[1].0, BUFFERS[2].0, BUFFERS[2].0, 0];
        let step = Kernel::load(target, "vector_add_memory_fault_kernels.hsaco", "vector_add_memory_fault", &arguments).run();
        let Step::Failed(WaveFault::Memory { fault, .. }) = step else { panic!("{step:?}") };
        assert_eq!(fault.access, Access::Write);
    });
}
