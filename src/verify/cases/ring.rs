//! The ring: wrapping around, full, shared by producers, broken by a bad packet, and recycled.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::aql::{BARRIER_DEPENDENCIES, BarrierAnd, KernelDispatch, RawPacket, ReserveError};
use crate::hsa::{Buffer, Queue, QueueKind, Status};
use crate::kernels::{Kernel, MarkArguments};
use crate::report::Outcome;
use crate::verify::lab::{
    Completion, Context, Element, Step, Stop, compare_marks, ordered_header, pointer, read_index_stuck, submit, system_header,
    tally,
};

/// Cells at 0 and a packet per cell that marks it.
fn marks(context: &mut Context<'_>, count: usize) -> Step<(Arc<Buffer>, Vec<KernelDispatch>)> {
    let cells = context.words(count)?;
    cells.fill_u32(0);
    let mut packets = Vec::with_capacity(count);
    for index in 0..count {
        packets.push(context.dispatch(Kernel::Mark, &MarkArguments { cells: pointer(&cells), index: index as u32 }, 64)?);
    }
    Ok((cells, packets))
}

/// A ring that does not drain, held against the marks of its packets: they may have run all the same.
fn not_drained(context: &mut Context<'_>, queue: &Queue, (cells, count): (&Buffer, usize), stop: Stop) -> Stop {
    let marks = compare_marks(cells, count);
    let ran = marks.elements - marks.untouched;
    if stop.0 != Outcome::PacketNotFetched || ran <= queue.read_index() {
        return stop;
    }
    context.record_output(marks);
    Stop::wrong(read_index_stuck(queue, ran - 1))
}

/// Several times round a small ring: each packet runs exactly once.
pub fn ring_wraparound(context: &mut Context<'_>) -> Step<()> {
    const PACKETS: usize = 64 * 4 + 7;
    let (cells, mut packets) = marks(context, PACKETS)?;
    let done = context.signal(1)?;
    if let Some(last) = packets.last_mut() {
        last.header = ordered_header().to_bits();
        last.completion_signal = done.handle();
    }
    let queue = context.queue(64, QueueKind::Single)?;
    let mut index = 0;
    for packet in &packets {
        index = context.submit(&queue, packet).map_err(|stop| not_drained(context, &queue, (&cells, PACKETS), stop))?;
    }
    let output = || compare_marks(&cells, PACKETS);
    context.complete(&Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output: &output })
}

/// A ring whose first packet blocks takes as many packets as it has slots, then none, and goes on when the block is lifted.
pub fn full_ring(context: &mut Context<'_>) -> Step<()> {
    const HOLD: Duration = Duration::from_millis(5);
    let (gate, done) = (context.signal(1)?, context.signal(1)?);
    let queue = context.queue(64, QueueKind::Single)?;
    let capacity = queue.ring().capacity().get() as usize;
    let (cells, mut packets) = marks(context, capacity + 1)?;
    let mut dependencies = [0; BARRIER_DEPENDENCIES];
    dependencies[0] = gate.handle();
    context.submit(&queue, &BarrierAnd::new(system_header(), dependencies, 0))?;
    for packet in &mut packets {
        // Behind the blocked packet, whatever the device fetches ahead.
        packet.header = ordered_header().to_bits();
    }
    if let Some(last) = packets.last_mut() {
        last.completion_signal = done.handle();
    }
    let mut published = 0;
    let refused = loop {
        match packets.get(published).map(|packet| queue.ring().submit(packet)) {
            Some(Ok(_)) => published += 1,
            Some(Err(error)) => break error,
            None => {
                return Err(Stop::wrong(format!("a ring of {capacity} packets took {} while its first one blocks", published + 1)));
            }
        }
    };
    if !matches!(refused, ReserveError::Full { .. }) {
        return Err(Stop::wrong(refused.to_string()));
    }
    let still_full = || queue.write_index() - queue.read_index() <= capacity as u64 && compare_marks(&cells, published).is_absent();
    context.keeps(HOLD, still_full, "packets behind a blocked one ran, or the ring holds more packets than it has slots")?;
    gate.store(0);
    let mut index = 0;
    for packet in &packets[published..] {
        index = context.submit(&queue, packet).map_err(|stop| not_drained(context, &queue, (&cells, capacity + 1), stop))?;
    }
    let output = || compare_marks(&cells, capacity + 1);
    context.complete(&Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output: &output })
}

/// Several threads publish into one ring: each packet runs exactly once.
pub fn multi_producer(context: &mut Context<'_>) -> Step<()> {
    const PRODUCERS: usize = 4;
    const EACH: usize = 48;
    let (cells, packets) = marks(context, PRODUCERS * EACH)?;
    let done = context.signal(1)?;
    let queue = context.queue(64, QueueKind::Multi)?;
    let deadline = context.deadline();
    let published: Step<()> = thread::scope(|scope| {
        let publish = |share: &[KernelDispatch]| share.iter().try_for_each(|packet| submit(&queue, packet, deadline).map(drop));
        let producers: Vec<_> = packets.chunks(EACH).map(|share| scope.spawn(move || publish(share))).collect();
        producers
            .into_iter()
            .try_for_each(|producer| producer.join().unwrap_or_else(|_| Err(Stop::wrong("a producer thread panicked"))))
    });
    if let Err(stop) = published {
        context.undrained(&queue, &stop);
        return Err(not_drained(context, &queue, (&cells, PRODUCERS * EACH), stop));
    }
    let index = context.submit(&queue, &BarrierAnd::new(ordered_header(), [0; BARRIER_DEPENDENCIES], done.handle()))?;
    let output = || compare_marks(&cells, PRODUCERS * EACH);
    context.complete_behind(&Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output: &output })
}

/// A packet of a reserved type must stop the queue with the error that names it.
pub fn invalid_packet(context: &mut Context<'_>) -> Step<()> {
    /// Types 6 to 255 are reserved (HSA 1.2 §2.9.1).
    const RESERVED_TYPE: u32 = 0x7f;
    let queue = context.queue(64, QueueKind::Single)?;
    let mut words = [0; 16];
    words[0] = RESERVED_TYPE;
    let index = context.submit(&queue, &RawPacket(words))?;
    let reported = context.reaches(|| queue.errors().first().is_some());
    context.record_queue(&queue);
    match queue.errors().first() {
        Some(Status::InvalidPacketFormat) => Ok(()),
        Some(status) => Err(Stop(Outcome::QueueError { status: status.to_string() })),
        None if !reported && queue.read_index() > index => Err(Stop(Outcome::NoEffect)),
        None => Err(context.not_taken(&queue, index)),
    }
}

/// Queues come and go, each with a dispatch: a doorbell or ring that is handed out again must serve its new queue.
pub fn queue_recycle(context: &mut Context<'_>) -> Step<()> {
    const QUEUES: usize = 24;
    let (cells, packets) = marks(context, QUEUES)?;
    for (position, mut packet) in packets.into_iter().enumerate() {
        let done = context.signal(1)?;
        packet.completion_signal = done.handle();
        let queue = context.queue(64, QueueKind::Single)?;
        let index = context.submit(&queue, &packet)?;
        // Only its own mark: those of earlier queues would make a packet that nobody takes look like one that ran in part.
        let output = || tally(1, |_| Element::of_mark(cells.u32s()[position].load(Ordering::Acquire)));
        context.complete(&Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output: &output })?;
    }
    Ok(())
}
