//! A nop's round trip through the embedded device, beside the physical limit of two threads that talk through memory: a
//! cache-line ping-pong, measured in the same run.
//!
//! Dispatch: packet written, header released, doorbell stored, fetched, executed, signal decremented, seen by an active wait.
//! It crosses between two cores at least twice, as the ping-pong does. How far apart two virtual cores are changes from one
//! second to the next (the host may move them between sibling threads and packages), so the last line compares the two in
//! alternating slices of some milliseconds: the ratio means something where absolute times do not.

mod device;
mod slices;

use std::error::Error;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use aqlprobe::kernels::Kernel;
use criterion::Criterion;

use device::Device;
use slices::{Claim, Comparison, Iterations};

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

/// Some milliseconds; warm once both threads are on their cores.
const TRIPS: Iterations = Iterations { warm_up: 200, timed: 4_000 };
const SLICES: usize = 301;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut ping_pong = PingPong::start();
    let mut group = criterion.benchmark_group("round_trip");
    group.bench_function("cache-line ping-pong", |bencher| bencher.iter(|| ping_pong.round_trip()));
    ping_pong.rest();
    let mut device = Device::power_up()?;
    let nop = device.packet(Kernel::Nop, u32::from(Kernel::Nop.workgroup()[0]), 0)?;
    group.bench_function("nop on the embedded device", |bencher| bencher.iter(|| device.complete(&nop)));
    group.finish();
    criterion.final_summary();

    let claim = Claim { subject: "nop round trip", limit: "cache-line ping-pong", operations: 1, at_most: Some(4.0) };
    let comparison = Comparison::measure(
        claim,
        SLICES,
        || TRIPS.time(|| device.complete(&nop)),
        || {
            ping_pong.wake();
            let time = TRIPS.time(|| ping_pong.round_trip());
            ping_pong.rest();
            time
        },
    );
    println!("{comparison}");
    Ok(())
}
