//! One kernel of one code object on the shader cores of the model, without queues.

use std::ptr::NonNull;

use aqlprobe::model::address::GpuVa;
use aqlprobe::model::bus::{Admission, Bus, Fabric, OperandWidth, RmwOp};
use aqlprobe::model::compute::{Dispatch, InstructionBudget, Launch, Step};
use aqlprobe::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use aqlprobe::model::target::Target;
use object::{Object, ObjectSegment, ObjectSymbol};

const IMAGE: GpuVa = GpuVa(0x1_0000_0000);
const KERNARG: GpuVa = GpuVa(0x2_0000_0000);
const PACKET: GpuVa = GpuVa(0x3_0000_0000);
/// Where the buffers are.
pub const BUFFERS: [GpuVa; 3] = [GpuVa(0x4_0000_0000), GpuVa(0x5_0000_0000), GpuVa(0x6_0000_0000)];
const BUFFER_WORDS: usize = 2048;

/// A path that carries every AtomicOp.
pub struct AtomicOpsArrive;

impl Fabric for AtomicOpsArrive {
    fn admit(&self, _op: RmwOp, _width: OperandWidth) -> Admission {
        Admission::Performed
    }
}

/// A kernel with three buffers of 32-bit words.
pub struct Kernel {
    target: Target,
    pub grid: [u32; 3],
    pub workgroup: [u16; 3],
    pub dynamic_group_bytes: u32,
    memory: MemoryMap,
    descriptor: GpuVa,
    image: Vec<u64>,
    kernarg: Vec<u64>,
    packet: Vec<u64>,
    pub buffers: [Vec<u64>; 3],
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    bytes.chunks(8).map(word).collect()
}

impl Kernel {
    /// Loads a code object as the loader would, and keeps the arguments in a segment with zeros behind them.
    pub fn load(target: Target, object: &[u8], name: &str, arguments: &[u8]) -> Self {
        let elf = object::File::parse(object).unwrap();
        let length = elf.segments().map(|segment| segment.address() + segment.size()).max().unwrap();
        let mut image = vec![0_u8; length as usize];
        for segment in elf.segments() {
            let data = segment.data().unwrap();
            image[segment.address() as usize..][..data.len()].copy_from_slice(data);
        }
        let symbol = format!("{name}.kd");
        let descriptor = elf.dynamic_symbols().find(|found| found.name() == Ok(&symbol)).unwrap().address();
        let mut kernarg = words(arguments);
        kernarg.resize(32, 0);
        Self {
            target,
            grid: [1; 3],
            workgroup: [1; 3],
            dynamic_group_bytes: 0,
            memory: MemoryMap::new(),
            descriptor: IMAGE + descriptor,
            image: words(&image),
            kernarg,
            packet: vec![0; 8],
            buffers: std::array::from_fn(|_| vec![0; BUFFER_WORDS / 2]),
        }
    }

    pub fn map(&mut self) {
        // Workgroup sizes are the third, fourth and fifth 16-bit field of a dispatch packet.
        let [x, y, z] = self.workgroup.map(u64::from);
        (self.packet[0], self.packet[1]) = (x << 32 | y << 48, z);
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

    pub fn bus<'a>(&'a self, fabric: &'a dyn Fabric) -> Bus<'a> {
        Bus::new(self.memory.view(), fabric)
    }

    pub fn start(&self, bus: &Bus<'_>) -> Dispatch {
        let launch = Launch {
            descriptor: self.descriptor,
            dispatch_packet: PACKET,
            queue: GpuVa::NULL,
            kernarg: KERNARG,
            dispatch_id: 0,
            grid: self.grid,
            workgroup: self.workgroup,
            group_segment_bytes: self.dynamic_group_bytes,
            private_segment_bytes: 0,
            scratch: None,
        };
        Dispatch::new(self.target, &launch, bus).unwrap()
    }

    /// Runs to the end, which must come soon.
    pub fn run(&mut self) -> Step {
        self.map();
        let bus = self.bus(&AtomicOpsArrive);
        let mut dispatch = self.start(&bus);
        for _ in 0..100 {
            match dispatch.run(&bus, InstructionBudget(10_000)) {
                Step::Yielded => {}
                end => return end,
            }
        }
        panic!("the kernel did not end");
    }

    pub fn word(&self, buffer: usize, index: usize) -> u32 {
        self.memory.view().load_u32(BUFFERS[buffer] + 4 * index as u64).unwrap()
    }

    /// Fills a buffer, before the kernel runs.
    pub fn fill(&mut self, buffer: usize, value: impl Fn(usize) -> u32) {
        for (n, pair) in self.buffers[buffer].iter_mut().enumerate() {
            *pair = u64::from(value(2 * n)) | u64::from(value(2 * n + 1)) << 32;
        }
    }
}
