//! What it costs the host to publish a packet, beside the least that anyone could do: copy its 64 bytes into the ring and store one
//! word for the doorbell.
//!
//! The ring lies in memory of the embedded device, page-aligned and mapped for it, but nobody consumes: the port has indices and a
//! doorbell word and no device, so that only the producer's own work is measured. Between two runs the packets are taken off again,
//! which is not timed. A run publishes half a ring. The last lines go through the runtime's C functions to a queue of the device.

mod device;
mod slices;

use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqlprobe::aql::{KernelDispatch, Packet, QueuePort, Ring, Slot, SlotMemory};
use aqlprobe::hsa::Buffer;
use aqlprobe::kernels::Kernel;
use criterion::{Criterion, Throughput};

use device::Device;
use slices::{Claim, Comparison, Iterations};

const RING_PACKETS: u32 = 1024;
const RING_BYTES: usize = 64 * RING_PACKETS as usize;
const RUN: u32 = RING_PACKETS / 2;

const SLICES: usize = 201;
/// Of some milliseconds in all.
const RUNS: Iterations = Iterations { warm_up: 4, timed: 60 };

/// A word alone on its cache line (two lines, because of the adjacent-line prefetcher).
#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicU64);

/// The indices and the doorbell of a queue without a device.
#[derive(Default)]
struct Unheard {
    read: Line,
    write: Line,
    doorbell: Line,
}

impl QueuePort for Unheard {
    fn load_read_index(&self) -> u64 {
        self.read.0.load(Ordering::Acquire)
    }
    fn load_write_index(&self) -> u64 {
        self.write.0.load(Ordering::Relaxed)
    }
    fn cas_write_index(&self, expected: u64, desired: u64) -> u64 {
        self.write.0.compare_exchange(expected, desired, Ordering::AcqRel, Ordering::Relaxed).unwrap_or_else(|found| found)
    }
    fn store_write_index(&self, index: u64) {
        self.write.0.store(index, Ordering::Release);
    }
    fn ring_doorbell(&self, index: u64) {
        self.doorbell.0.store(index, Ordering::Release);
    }
}

/// A ring in the device's memory, and both ends of it.
struct Bench {
    memory: Buffer,
    ring: Ring<Unheard>,
    packet: KernelDispatch,
}

impl Bench {
    fn new(device: &Device) -> Result<Self, Box<dyn Error>> {
        let memory = device.buffer(RING_BYTES)?;
        memory.fill_u32(1);
        let base = NonNull::new(memory.address() as *mut Slot).ok_or("the buffer is at zero")?;
        // SAFETY: the buffer holds RING_PACKETS slots, page-aligned, and lives as long as the ring beside it; only atomics touch it.
        let slots = unsafe { SlotMemory::new(base, RING_PACKETS) }.ok_or("the ring is no power of two")?;
        let packet = device.packet(Kernel::Nop, 64, 0)?;
        Ok(Self { memory, ring: Ring::new(slots, Unheard::default()), packet })
    }

    fn slot(&self, index: u64) -> &Slot {
        let position = index % u64::from(RING_PACKETS);
        let address = self.memory.address() + 64 * position;
        // SAFETY: inside the buffer, which lives as long as self; slots are atomics, as which alone its bytes are used.
        unsafe { &*(address as *const Slot) }
    }

    /// Times `publish`, which publishes a run, and takes the run off the ring again.
    fn timed(&mut self, publish: impl FnOnce(&mut Ring<Unheard>, &KernelDispatch)) -> Duration {
        let start = Instant::now();
        publish(&mut self.ring, &self.packet);
        let elapsed = start.elapsed();
        let port = self.ring.port();
        let (first, end) = (port.load_read_index(), port.load_write_index());
        assert_eq!(end - first, u64::from(RUN), "a run was published");
        assert_eq!(port.doorbell.0.load(Ordering::Relaxed), end - 1, "and the doorbell rung for its last packet");
        for index in first..end {
            assert_eq!(self.slot(index).consume(), Some(self.packet.to_words()));
        }
        port.read.0.store(end, Ordering::Release);
        elapsed
    }

    fn by_the_sole_producer(&mut self) -> Duration {
        self.timed(|ring, packet| {
            let mut producer = ring.sole_producer();
            for _ in 0..RUN {
                producer.submit(black_box(packet)).expect("half a ring is free");
            }
        })
    }

    fn by_one_of_several(&mut self) -> Duration {
        self.timed(|ring, packet| {
            for _ in 0..RUN {
                ring.submit(black_box(packet)).expect("half a ring is free");
            }
        })
    }

    fn in_batches(&mut self, packets: NonZeroU32) -> Duration {
        self.timed(|ring, packet| {
            for _ in 0..RUN / packets {
                let mut batch = ring.reserve(packets).expect("half a ring is free");
                for _ in 0..packets.get() {
                    batch.write(black_box(packet));
                }
                batch.ring();
            }
        })
    }
}

/// Half a ring of plain copies, each with its store.
struct Plain {
    memory: Buffer,
    doorbell: Line,
    first: u64,
    packet: KernelDispatch,
}

impl Plain {
    fn new(device: &Device) -> Result<Self, Box<dyn Error>> {
        let memory = device.buffer(RING_BYTES)?;
        Ok(Self { memory, doorbell: Line::default(), first: 0, packet: device.packet(Kernel::Nop, 64, 0)? })
    }

    fn slot(&self, index: u64) -> *mut [u32; 16] {
        (self.memory.address() + 64 * (index % u64::from(RING_PACKETS))) as *mut [u32; 16]
    }

    fn run(&mut self) -> Duration {
        let (first, end) = (self.first, self.first + u64::from(RUN));
        let start = Instant::now();
        for index in first..end {
            let words = black_box(&self.packet).to_words();
            // SAFETY: inside the buffer; the device knows nothing of it, and no other thread of this process.
            unsafe { self.slot(index).write(words) };
            self.doorbell.0.store(index, Ordering::Release);
        }
        let elapsed = start.elapsed();
        for index in first..end {
            // SAFETY: as above. It leaves the caches as the consumer of the other leaves them.
            unsafe { black_box(self.slot(index).cast::<u32>().replace(1)) };
        }
        self.first = end;
        elapsed
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    const BATCHES: [NonZeroU32; 3] = [NonZeroU32::new(4).unwrap(), NonZeroU32::new(16).unwrap(), NonZeroU32::new(64).unwrap()];
    let mut criterion = Criterion::default().configure_from_args();
    let device = Device::power_up()?;
    let (mut bench, mut plain) = (Bench::new(&device)?, Plain::new(&device)?);

    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(u64::from(RUN)));
    let total = |count: u64, run: &mut dyn FnMut() -> Duration| (0..count).map(|_| run()).sum::<Duration>();
    group.bench_function("sole producer", |bencher| {
        bencher.iter_custom(|count| total(count, &mut || bench.by_the_sole_producer()));
    });
    group.bench_function("one of several", |bencher| bencher.iter_custom(|count| total(count, &mut || bench.by_one_of_several())));
    for batch in BATCHES {
        group.bench_function(format!("one of several, batches of {batch}"), |bencher| {
            bencher.iter_custom(|count| total(count, &mut || bench.in_batches(batch)));
        });
    }
    group.bench_function("copy and store", |bencher| bencher.iter_custom(|count| total(count, &mut || plain.run())));
    group.finish();
    criterion.final_summary();

    let mut compare = |subject: &str, at_most, run: &mut dyn FnMut() -> Duration| {
        let claim = Claim { subject, limit: "64-byte copy and store", operations: RUN, at_most };
        let comparison = Comparison::measure(claim, SLICES, || RUNS.time_between(&mut *run), || RUNS.time_between(|| plain.run()));
        println!("{comparison}");
    };
    compare("publish, sole producer,", Some(2.0), &mut || bench.by_the_sole_producer());
    for batch in BATCHES {
        compare(&format!("publish, one of several, batches of {batch}"), None, &mut || bench.in_batches(batch));
    }
    compare("publish, one of several, packet by packet,", None, &mut || bench.by_one_of_several());
    let packet = bench.packet;
    compare("publish through the runtime to its device", None, &mut || device.publish_run(&packet, RUN));
    Ok(())
}
