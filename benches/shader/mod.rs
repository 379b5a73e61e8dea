//! The shader cores alone, without packets and signals: the committed kernels of a target, launched on the calling thread.

use std::collections::HashMap;
use std::error::Error;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aqlprobe::kernels::{self, Arguments, DevicePtr, Kernel};
use aqlprobe::model::address::GpuVa;
use aqlprobe::model::bus::Bus;
use aqlprobe::model::compute::{Engine, InstructionBudget, Launch, Step};
use aqlprobe::model::fabric::PciPath;
use aqlprobe::model::machine::Machine;
use aqlprobe::model::memory::{Home, HostPtr, Mapping, MemoryMap, Protection};
use aqlprobe::model::target::Target;
use aqlprobe::pci::sysfs::SysfsRoot;
use object::{Object, ObjectSegment, ObjectSymbol};

/// Where everything lies for the device, one range after the other.
const FIRST: GpuVa = GpuVa(0x1_0000_0000);
const DISTANCE: u64 = 0x1000_0000;

const WORDS_PER_PAGE: usize = 512;

/// A page as runtimes hand them out. Atomics, because device and host share it.
#[repr(align(4096))]
struct Page([AtomicU64; WORDS_PER_PAGE]);

/// A range of host memory that the device sees.
struct Range {
    va: GpuVa,
    pages: Box<[Page]>,
}

impl Range {
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.pages[at / WORDS_PER_PAGE].0[at % WORDS_PER_PAGE]
    }

    fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.pages.iter().flat_map(|page| &page.0)
    }
}

/// A shader engine with the kernels of its target.
pub struct Shader {
    // Before the ranges: the mappings end first.
    memory: MemoryMap,
    engine: Engine,
    path: PciPath,
    kernels: HashMap<String, GpuVa>,
    ranges: Vec<Range>,
    kernarg: DevicePtr,
    packet: DevicePtr,
    _machine: Machine,
}

impl Shader {
    /// Loads the code object of a target. AtomicOps are enabled on the path to host memory.
    pub fn new(target: Target) -> Result<Self, Box<dyn Error>> {
        let machine = Machine::of_its_own(target)?;
        let path = PciPath::open(&SysfsRoot::new(&machine.sysfs_root), &machine.endpoint)?;
        let mut shader = Self {
            memory: MemoryMap::new(),
            engine: Engine::new(target),
            path,
            kernels: HashMap::new(),
            ranges: Vec::new(),
            kernarg: DevicePtr(0),
            packet: DevicePtr(0),
            _machine: machine,
        };
        shader.load(kernels::select(&target.to_string())?.bytes)?;
        shader.kernarg = shader.words(1024)?;
        shader.packet = shader.words(16)?;
        Ok(shader)
    }

    fn load(&mut self, file: &[u8]) -> Result<(), Box<dyn Error>> {
        let code = object::File::parse(file)?;
        let end = code.segments().map(|segment| segment.address() + segment.size()).max().ok_or("no segment")?;
        let image = self.range(end as usize, Protection::ReadExecute)?;
        for segment in code.segments() {
            self.write(DevicePtr(image.0 + segment.address()), segment.data()?);
        }
        for symbol in code.dynamic_symbols() {
            if let Some(name) = symbol.name()?.strip_suffix(".kd") {
                self.kernels.insert(name.to_owned(), GpuVa(image.0 + symbol.address()));
            }
        }
        Ok(())
    }

    fn range(&mut self, bytes: usize, protection: Protection) -> Result<DevicePtr, Box<dyn Error>> {
        let va = FIRST + self.ranges.len() as u64 * DISTANCE;
        let zeroed = |_| Page(std::array::from_fn(|_| AtomicU64::new(0)));
        let pages: Box<[Page]> = (0..bytes.div_ceil(size_of::<Page>())).map(zeroed).collect();
        let host = HostPtr::new(NonNull::from(&*pages).cast());
        let mapping = Mapping { va, length: size_of_val(&*pages) as u64, host, home: Home::Host, protection };
        // SAFETY: the pages are kept by this value, on the heap, until after the map is gone (order of the fields).
        unsafe { self.memory.map(mapping)? };
        self.ranges.push(Range { va, pages });
        Ok(DevicePtr(va.0))
    }

    /// Zeroed memory of the host for so many 32-bit words.
    pub fn words(&mut self, count: usize) -> Result<DevicePtr, Box<dyn Error>> {
        self.range(4 * count, Protection::ReadWrite)
    }

    /// The range that holds an address, and the bytes before the address in it.
    fn at(&self, address: DevicePtr) -> (&Range, usize) {
        let va = GpuVa(address.0);
        let range = self.ranges.iter().rfind(|range| range.va <= va).expect("an address of a range");
        (range, (va - range.va) as usize)
    }

    /// Writes bytes before anything is launched.
    fn write(&self, address: DevicePtr, bytes: &[u8]) {
        let (range, offset) = self.at(address);
        for (at, byte) in bytes.iter().enumerate() {
            let (word, shift) = ((offset + at) / 8, (offset + at) % 8 * 8);
            range.word(word).fetch_or(u64::from(*byte) << shift, Ordering::Relaxed);
        }
    }

    /// Fills memory of [`Self::words`] with 32-bit values.
    pub fn fill(&self, address: DevicePtr, value: impl Fn(u32) -> u32) {
        for (at, word) in self.at(address).0.words().enumerate() {
            let (low, high) = (value(2 * at as u32), value(2 * at as u32 + 1));
            word.store(u64::from(low) | u64::from(high) << 32, Ordering::Relaxed);
        }
    }

    /// The 32-bit values in memory of [`Self::words`].
    pub fn read(&self, address: DevicePtr) -> Vec<u32> {
        let words = self.at(address).0.words().map(|word| word.load(Ordering::Relaxed));
        words.flat_map(|word| [word as u32, (word >> 32) as u32]).collect()
    }

    /// Sets the arguments of the launches to come.
    pub fn arguments(&self, arguments: &impl Arguments) {
        self.fill(self.kernarg, |_| 0);
        self.write(self.kernarg, &arguments.to_bytes());
    }

    /// Runs a kernel of so many work-items to its end.
    pub fn run(&mut self, kernel: Kernel, work_items: u32) {
        let launch = Launch {
            descriptor: self.kernels[kernel.name()],
            dispatch_packet: GpuVa(self.packet.0),
            queue: GpuVa::NULL,
            kernarg: GpuVa(self.kernarg.0),
            dispatch_id: 0,
            grid: [work_items, 1, 1],
            workgroup: kernel.workgroup(),
            group_segment_bytes: 0,
            private_segment_bytes: 0,
            scratch: None,
        };
        let bus = Bus::new(self.memory.view(), &self.path);
        let mut dispatch = self.engine.launch(&launch, &bus).expect("the kernel is loaded");
        loop {
            match dispatch.run(&bus, InstructionBudget(1 << 20)) {
                Step::Yielded => {}
                Step::Finished => break,
                Step::Failed(fault) => panic!("{fault}"),
            }
        }
        self.engine.recycle(dispatch);
    }
}
