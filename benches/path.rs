//! `aqlprobe path --from` on a whole machine's dump of a megabyte: reading the text and judging every GPU's path, beside the
//! least that any reader must do, which is to look at every line once.

mod slices;

use std::fmt::Write;
use std::hint::black_box;

use aqlprobe::audit::{Context, Selection, from_text};
use criterion::{Criterion, Throughput};

use slices::{Claim, Comparison, Iterations};

/// Real functions with decoded text and the whole 4 KiB of hex each: root port, switch ports, GPU.
const MACHINE: &str = include_str!("../tests/data/machines/001-x99-qd4-navi23.txt");
const BYTES: usize = 1024 * 1024;

/// The machine again and again, each time in a PCI domain of its own, so that every path is found anew.
fn whole_machine() -> String {
    let mut text = String::with_capacity(BYTES + MACHINE.len());
    for domain in 0_u32.. {
        if text.len() >= BYTES {
            break;
        }
        for line in MACHINE.lines() {
            if starts_a_function(line) {
                // Writing to a String cannot fail.
                let _ = write!(text, "{domain:04x}:");
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// `05:00.0 VGA …`
fn starts_a_function(line: &str) -> bool {
    let bytes = line.as_bytes();
    bytes.len() > 7 && bytes[2] == b':' && bytes[5] == b'.' && bytes[0].is_ascii_hexdigit()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let text = whole_machine();
    let context = Context::default();
    let audit = from_text(&text, Selection::Accelerators, &context).expect("the text is a dump");
    assert!(audit.devices.len() > 10, "every copy of the machine has its GPU: {}", audit.devices.len());
    let mut group = criterion.benchmark_group("path_from_text");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("audit", |bencher| bencher.iter(|| from_text(black_box(&text), Selection::Accelerators, &context)));
    group.bench_function("lines", |bencher| bencher.iter(|| black_box(&text).lines().map(str::len).sum::<usize>()));
    group.finish();
    criterion.final_summary();

    let audits = Iterations { warm_up: 1, timed: 2 };
    let claim = Claim { subject: "audit of a machine's dump, a MiB", limit: "its lines looked at", operations: 1, at_most: None };
    let comparison = Comparison::measure(
        claim,
        41,
        || audits.time(|| _ = black_box(from_text(black_box(&text), Selection::Accelerators, &context))),
        || Iterations { warm_up: 2, timed: 40 }.time(|| _ = black_box(black_box(&text).lines().map(str::len).sum::<usize>())),
    );
    println!("{comparison}");
}
