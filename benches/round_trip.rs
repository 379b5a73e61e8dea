//! A nop's round trip through the embedded device, beside the physical limit of two threads that talk through memory: a
//! cache-line ping-pong, measured in the same run.
//!
//! Dispatch: packet written, header released, doorbell stored, fetched, executed, signal decremented, seen by an active wait.
//! It crosses between two cores at least twice, as the ping-pong does. How far apart two virtual cores are changes from one
//! second to the next (the host may move them between sibling threads and packages), so the last line compares the two in
//! alternating slices of some milliseconds: the ratio means something where absolute times do not.

mod device;

use std::error::Error;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqlprobe::aql::KernelDispatch;
use aqlprobe::kernels::Kernel;
use criterion::Criterion;

use device::Device;

/// A word alone on its cache line (two lines, because of the adjacent-line prefetcher).
#[repr(align(128))]
struct Line(AtomicU64);

/// Two threads that answer each other through one cache line each.
struct PingPong {
    lines: Arc<[Line; 2]>,
    partner: Option<thread::JoinHandle<()>>,
    ball: u64,
}

impl PingPong {
    /// Tells the partner to sleep until it is unparked, so that it leaves its core to others.
    const REST: u64 = 1 << 62;
    const STOP: u64 = 1 << 63;

    fn start() -> Self {
        let lines = Arc::new([Line(AtomicU64::new(0)), Line(AtomicU64::new(0))]);
        let theirs = Arc::clone(&lines);
        let partner = thread::spawn(move || {
            let mut seen = 0;
            loop {
                match theirs[0].0.load(Ordering::Acquire) {
                    Self::STOP => return,
                    Self::REST => thread::park(),
                    ball if ball != seen => {
                        seen = ball;
                        theirs[1].0.store(ball, Ordering::Release);
                    }
                    _ => spin_loop(),
                }
            }
        });
        Self { lines, partner: Some(partner), ball: 0 }
    }

    fn round_trip(&mut self) {
        self.ball += 1;
        self.lines[0].0.store(self.ball, Ordering::Release);
        while self.lines[1].0.load(Ordering::Acquire) != self.ball {
            spin_loop();
        }
    }

    fn rest(&self) {
        self.lines[0].0.store(Self::REST, Ordering::Release);
    }

    fn wake(&mut self) {
        self.ball += 1;
        self.lines[0].0.store(self.ball, Ordering::Release);
        if let Some(partner) = &self.partner {
            partner.thread().unpark();
        }
        while self.lines[1].0.load(Ordering::Acquire) != self.ball {
            thread::yield_now();
        }
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        self.lines[0].0.store(Self::STOP, Ordering::Release);
        if let Some(partner) = self.partner.take() {
            partner.thread().unpark();
            let _ = partner.join();
        }
    }
}

fn timed(iterations: u64, mut body: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..iterations {
        body();
    }
    start.elapsed()
}

/// Nanoseconds per iteration of both, in one slice of time each, one right after the other.
#[derive(Clone, Copy)]
struct Slice {
    ping_pong: f64,
    nop: f64,
}

impl Slice {
    const ITERATIONS: u64 = 4_000;
    /// Until both threads are on their cores and their lines are warm.
    const WARM_UP: u64 = 200;

    fn measure(ping_pong: &mut PingPong, device: &Device, nop: &KernelDispatch) -> Self {
        let per_iteration = |elapsed: Duration| elapsed.as_nanos() as f64 / Self::ITERATIONS as f64;
        ping_pong.wake();
        timed(Self::WARM_UP, || ping_pong.round_trip());
        let limit = timed(Self::ITERATIONS, || ping_pong.round_trip());
        ping_pong.rest();
        timed(Self::WARM_UP, || device.complete(nop));
        let ours = timed(Self::ITERATIONS, || device.complete(nop));
        Self { ping_pong: per_iteration(limit), nop: per_iteration(ours) }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

const SLICES: usize = 301;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut ping_pong = PingPong::start();
    let mut group = criterion.benchmark_group("round_trip");
    group.bench_function("cache-line ping-pong", |bencher| bencher.iter(|| ping_pong.round_trip()));
    ping_pong.rest();
    let device = Device::power_up()?;
    let nop = device.packet(Kernel::Nop, u32::from(Kernel::Nop.workgroup()[0]), 0)?;
    group.bench_function("nop on the embedded device", |bencher| bencher.iter(|| device.complete(&nop)));
    group.finish();
    criterion.final_summary();

    let slices: Vec<Slice> = (0..SLICES).map(|_| Slice::measure(&mut ping_pong, &device, &nop)).collect();
    println!(
        "round_trip: nop {:.0} ns, cache-line ping-pong {:.0} ns, median ratio of {SLICES} alternating slices {:.2}",
        median(slices.iter().map(|slice| slice.nop)),
        median(slices.iter().map(|slice| slice.ping_pong)),
        median(slices.iter().map(|slice| slice.nop / slice.ping_pong)),
    );
    Ok(())
}
