//! A nop's round trip through the embedded device, beside the physical limit of two threads that talk through memory: a
//! cache-line ping-pong, measured in the same run.
//!
//! Dispatch: packet written, header released, doorbell stored, fetched, executed, signal decremented, seen by an active wait.
//! It crosses between two cores at least twice, as the ping-pong does. The last line gives the ratio of the two medians, for
//! a machine whose absolute times mean nothing.

mod device;

use std::cell::RefCell;
use std::error::Error;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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
}

impl PingPong {
    const STOP: u64 = 1 << 63;

    fn start() -> Self {
        let lines = Arc::new([Line(AtomicU64::new(0)), Line(AtomicU64::new(0))]);
        let theirs = Arc::clone(&lines);
        let partner = thread::spawn(move || {
            let mut seen = 0;
            loop {
                let ball = theirs[0].0.load(Ordering::Acquire);
                if ball == Self::STOP {
                    return;
                }
                if ball != seen {
                    seen = ball;
                    theirs[1].0.store(ball, Ordering::Release);
                } else {
                    spin_loop();
                }
            }
        });
        Self { lines, partner: Some(partner) }
    }

    fn round_trip(&self, ball: u64) {
        self.lines[0].0.store(ball, Ordering::Release);
        while self.lines[1].0.load(Ordering::Acquire) != ball {
            spin_loop();
        }
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        self.lines[0].0.store(Self::STOP, Ordering::Release);
        if let Some(partner) = self.partner.take() {
            let _ = partner.join();
        }
    }
}

/// Nanoseconds per iteration of every sample that criterion took.
#[derive(Default)]
struct Samples(RefCell<Vec<f64>>);

impl Samples {
    fn time(&self, iterations: u64, mut body: impl FnMut(u64)) -> Duration {
        let start = Instant::now();
        for iteration in 1..=iterations {
            body(iteration);
        }
        let elapsed = start.elapsed();
        self.0.borrow_mut().push(elapsed.as_nanos() as f64 / iterations as f64);
        elapsed
    }

    fn median(&self) -> Option<f64> {
        let mut sorted = self.0.borrow().clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let (limit, ours) = (Samples::default(), Samples::default());
    let mut group = criterion.benchmark_group("round_trip");
    {
        let ping_pong = PingPong::start();
        let mut ball = 0;
        group.bench_function("cache-line ping-pong", |bencher| {
            bencher.iter_custom(|iterations| {
                limit.time(iterations, |_| {
                    ball += 1;
                    ping_pong.round_trip(ball);
                })
            });
        });
    }
    {
        let device = Device::power_up()?;
        let nop = device.packet(Kernel::Nop, u32::from(Kernel::Nop.workgroup()[0]), 0)?;
        group.bench_function("nop on the embedded device", |bencher| {
            bencher.iter_custom(|iterations| ours.time(iterations, |_| device.complete(&nop)));
        });
    }
    group.finish();
    criterion.final_summary();
    if let (Some(limit), Some(ours)) = (limit.median(), ours.median()) {
        println!("round_trip: nop {ours:.0} ns, cache-line ping-pong {limit:.0} ns: ratio {:.2}", ours / limit);
    }
    Ok(())
}
