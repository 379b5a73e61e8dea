//! Device and host update one word at the same time with the three operations that PCIe has as AtomicOps (PCIe 6.15): FetchAdd,
//! Swap and CAS. Every update is accounted for, so a lost one is counted, not guessed.

use std::collections::{HashMap, HashSet};
use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use crate::aql::KernelDispatch;
use crate::hsa::{Buffer, QueueKind};
use crate::kernels::{CompareSwapArguments, FetchAddArguments, Kernel, Swap32Arguments, Swap64Arguments};
use crate::pci::guest::locked_instructions_are_plain;
use crate::report::{Outcome, OutputEvidence, UpdateEvidence};
use crate::verify::lab::{CANARY, CANARY_64, Completion, Context, Element, Step, Stop, compare_words, pointer, tally};

/// Width of the contended word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

/// The contended word, as the host sees it.
#[derive(Clone, Copy)]
enum Cell<'a> {
    Narrow(&'a AtomicU32),
    Wide(&'a AtomicU64),
}

impl Width {
    fn cell(self, buffer: &Buffer) -> Cell<'_> {
        match self {
            Self::Bits32 => Cell::Narrow(&buffer.u32s()[0]),
            Self::Bits64 => Cell::Wide(&buffer.u64s()[0]),
        }
    }
}

impl Cell<'_> {
    fn load(self) -> u64 {
        match self {
            Self::Narrow(word) => word.load(Ordering::Acquire).into(),
            Self::Wide(word) => word.load(Ordering::Acquire),
        }
    }

    fn store(self, value: u64) {
        match self {
            Self::Narrow(word) => word.store(value as u32, Ordering::Release),
            Self::Wide(word) => word.store(value, Ordering::Release),
        }
    }

    fn add_one(self) {
        match self {
            Self::Narrow(word) => word.fetch_add(1, Ordering::AcqRel).into(),
            Self::Wide(word) => word.fetch_add(1, Ordering::AcqRel),
        };
    }

    fn swap(self, value: u64) -> u64 {
        match self {
            Self::Narrow(word) => word.swap(value as u32, Ordering::AcqRel).into(),
            Self::Wide(word) => word.swap(value, Ordering::AcqRel),
        }
    }

    /// Increments by compare and swap; says whether it succeeded.
    fn try_increment(self) -> bool {
        match self {
            Self::Narrow(word) => {
                let seen = word.load(Ordering::Relaxed);
                word.compare_exchange(seen, seen.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
            Self::Wide(word) => {
                let seen = word.load(Ordering::Relaxed);
                word.compare_exchange(seen, seen.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
        }
    }
}

/// What both sides did.
struct Contest {
    completed: Step<()>,
    /// Updates of the host.
    host: u64,
}

/// Runs the kernel while the host repeats `host_update`, at least [`HOST_LEAST`] times and until the kernel is done.
fn contest(
    context: &mut Context<'_>,
    packet: KernelDispatch,
    output: &dyn Fn() -> OutputEvidence,
    host_update: impl Fn(u64) + Sync,
) -> Step<Contest> {
    const HOST_LEAST: u64 = 500;
    const HOST_MOST: u64 = 20_000;
    /// Spins between two updates, uneven so that a slow device finds a gap for a CAS of its own.
    const PAUSES: [u32; 6] = [16, 32, 64, 128, 256, 512];
    /// In a longer contest the host does nothing else. It does not pause at all: under TCG a pause costs more than all the rest.
    const HOST_MOST_LONGER: u64 = 1_000_000;
    let (host_most, pauses) = if longer_contest().is_some() { (HOST_MOST_LONGER, [0; 6]) } else { (HOST_MOST, PAUSES) };
    let mut packet = packet;
    let done = context.signal(1)?;
    packet.completion_signal = done.handle();
    let queue = context.queue(64, QueueKind::Single)?;
    let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            let mut updates = 0;
            while updates < host_most && (updates < HOST_LEAST || !ended.load(Ordering::Relaxed)) {
                host_update(updates);
                begun.store(true, Ordering::Release);
                (0..pauses[updates as usize % pauses.len()]).for_each(|_| hint::spin_loop());
                updates += 1;
            }
            updates
        });
        context.reaches(|| begun.load(Ordering::Acquire));
        let completed = context.submit(&queue, &packet).and_then(|index| {
            context.complete(&Completion { signal: &done, before: 1, expected: 0, queue: &queue, index, output })
        });
        ended.store(true, Ordering::Relaxed);
        let host = host.join().map_err(|_| Stop::wrong("the host's thread panicked"))?;
        Ok(Contest { completed, host })
    })
}

/// What a lost completion or updates that do not add up come to: the updates are counted either way.
fn verdict(context: &mut Context<'_>, completed: Step<()>, updates: UpdateEvidence, detail: &str) -> Step<()> {
    context.record_updates(updates);
    if updates.is_exact() {
        return completed;
    }
    let UpdateEvidence { made, missing, surplus, torn, .. } = updates;
    let what = match updates {
        UpdateEvidence { torn: 1.., .. } => format!("{torn} values are made of halves of different updates"),
        UpdateEvidence { surplus: 1.., .. } => format!("{surplus} updates more than the {made} that were made"),
        _ => format!("{missing} of {made} updates lost"),
    };
    let what = format!("{what}: {detail}");
    context.note(what.clone());
    completed?;
    if locked_instructions_are_plain() {
        return Err(Stop(Outcome::Untestable { reason: format!("{what}. {PLAIN}") }));
    }
    Err(Stop::wrong(what))
}

/// What a sum comes to that had to be `wanted`. A carry that does not reach the upper half of a 64-bit word leaves the lower one
/// right.
/// Nobody takes updates of the host away, so what is more than those is the device's.
fn summed(host: u64, device: u64, start: u64, found: u64) -> UpdateEvidence {
    let (made, wanted) = (host + device, start + host + device);
    let by_device = found.saturating_sub(start + host).min(SUM_AT_MOST);
    let exact = UpdateEvidence { made, by_device, ..UpdateEvidence::default() };
    match wanted.wrapping_sub(found) {
        0 => exact,
        _ if wanted as u32 == found as u32 => UpdateEvidence { torn: 1, ..exact },
        _ if wanted > found => UpdateEvidence { missing: (wanted - found).min(made), ..exact },
        _ => UpdateEvidence { surplus: found - wanted, ..exact },
    }
}

/// A difference beyond this is no sum of updates.
const SUM_AT_MOST: u64 = 1 << 32;

/// Why a loss says nothing about the GPU where the processor's own updates are not atomic.
const PLAIN: &str = "This guest has one processor, translated by QEMU's TCG, which makes plain instructions of the processor's atomic ones: \
                     the loss is TCG's, not the GPU's. Give the guest two processors (-smp 2)";

/// Environment variable: how often each work-item of `fetch-add-*` adds, for a longer and closer contest than a run of all cases needs.
const ROUNDS_ENV: &str = "AQLPROBE_CONTENDED_ROUNDS";

fn longer_contest() -> Option<u32> {
    /// So that sums stay in 32 bits.
    const ROUNDS_AT_MOST: u32 = 10_000;
    std::env::var(ROUNDS_ENV).ok()?.parse().ok().filter(|rounds| (1..=ROUNDS_AT_MOST).contains(rounds))
}

pub fn fetch_add_32(context: &mut Context<'_>) -> Step<()> {
    fetch_add(context, Width::Bits32)
}

pub fn fetch_add_64(context: &mut Context<'_>) -> Step<()> {
    fetch_add(context, Width::Bits64)
}

/// Everybody adds 1; the sum must be the number of additions.
fn fetch_add(context: &mut Context<'_>, width: Width) -> Step<()> {
    const ITEMS: u32 = 1024;
    const ROUNDS: u32 = 4;
    let longer = longer_contest();
    let rounds = longer.unwrap_or(ROUNDS);
    /// Above 32 bits where there is room, so that a carry shows.
    const START: [u64; 2] = [7, 0xffff_ff00];
    let start = START[usize::from(width == Width::Bits64)];
    let (counter, ran) = (context.double_words(1)?, context.words(ITEMS as usize)?);
    width.cell(&counter).store(start);
    let kernel = if width == Width::Bits32 { Kernel::FetchAdd32 } else { Kernel::FetchAdd64 };
    let arguments = FetchAddArguments { counter: pointer(&counter), ran: pointer(&ran), rounds };
    let packet = context.dispatch(kernel, &arguments, ITEMS)?;
    let output = || compare_words(&ran, ITEMS as usize, |_| rounds);
    context.asks_atomics(Some(u64::from(ITEMS) * u64::from(rounds)));
    let contest = contest(context, packet, &output, |_| width.cell(&counter).add_one())?;
    let device = u64::from(ITEMS) * u64::from(rounds);
    let (wanted, found) = (start + contest.host + device, width.cell(&counter).load());
    let detail = format!("the device added {device} and the host {} to {start}, which makes {wanted}; found {found}", contest.host);
    if longer.is_some() {
        context.note(format!("{} of {} increments arrived", found.wrapping_sub(start), wanted - start));
    }
    verdict(context, contest.completed, summed(contest.host, device, start, found), &detail)
}

pub fn swap_32(context: &mut Context<'_>) -> Step<()> {
    swap(context, Width::Bits32)
}

pub fn swap_64(context: &mut Context<'_>) -> Step<()> {
    swap(context, Width::Bits64)
}

/// Every token goes in once, so it must come out once or be the one that is left.
fn swap(context: &mut Context<'_>, width: Width) -> Step<()> {
    const ITEMS: u32 = 256;
    const ROUNDS: u32 = 4;
    const FIRST: u64 = 1;
    let tokens = (ITEMS * ROUNDS) as usize;
    // Halves of their own on either side, so that a token made of two halves shows.
    let high = |half: u64| if width == Width::Bits64 { half << 32 } else { 0 };
    let (device_first, host_first) = (high(5) + 0x1000_0000, high(6) + 0x2000_0000);
    let (cell, seen) = (context.double_words(1)?, context.double_words(tokens)?);
    width.cell(&cell).store(FIRST);
    let packet = match width {
        Width::Bits32 => {
            let first_token = device_first as u32;
            let arguments = Swap32Arguments { cell: pointer(&cell), seen: pointer(&seen), first_token, rounds: ROUNDS };
            context.dispatch(Kernel::Swap32, &arguments, ITEMS)?
        }
        Width::Bits64 => {
            let arguments =
                Swap64Arguments { cell: pointer(&cell), seen: pointer(&seen), first_token: device_first, rounds: ROUNDS };
            context.dispatch(Kernel::Swap64, &arguments, ITEMS)?
        }
    };
    let output = || returned_tokens(&seen, tokens, width);
    context.asks_atomics(Some(tokens as u64));
    let host_seen = std::sync::Mutex::new(Vec::new());
    let contest = contest(context, packet, &output, |update| {
        let out = width.cell(&cell).swap(host_first + update);
        host_seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(out);
    })?;
    let went_in = std::iter::once(FIRST)
        .chain((0..tokens as u64).map(|token| device_first + token))
        .chain((0..contest.host).map(|token| host_first + token));
    let host_seen = host_seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let came_out = (0..tokens).map(|position| element(&seen, position, width)).chain(host_seen).chain([width.cell(&cell).load()]);
    let updates = exchanged(went_in, came_out, |token| (device_first..device_first + tokens as u64).contains(&token));
    verdict(context, contest.completed, updates, "every token that was swapped in must come out once")
}

fn element(seen: &Arc<Buffer>, position: usize, width: Width) -> u64 {
    match width {
        Width::Bits32 => seen.u32s()[position].load(Ordering::Acquire).into(),
        Width::Bits64 => seen.u64s()[position].load(Ordering::Acquire),
    }
}

/// Which swaps returned at all, with whatever value.
fn returned_tokens(seen: &Arc<Buffer>, count: usize, width: Width) -> OutputEvidence {
    let canary = if width == Width::Bits32 { u64::from(CANARY) } else { CANARY_64 };
    tally(count, |position| {
        let (found, half) = (element(seen, position, width), if width == Width::Bits32 { 16 } else { 32 });
        match found {
            _ if found == canary => Element::Untouched,
            // No token has the upper half of the canary.
            _ if found >> half == canary >> half => Element::Torn,
            _ => Element::Right,
        }
    })
}

/// What became of the tokens that went in: each must come out once. A stranger whose halves belong to two of them is torn; any other
/// stranger is what a dropped operation returned, and its token is missing.
fn exchanged(
    went_in: impl Iterator<Item = u64>,
    came_out: impl Iterator<Item = u64>,
    of_the_device: impl Fn(u64) -> bool,
) -> UpdateEvidence {
    let mut balance: HashMap<u64, i64> = HashMap::new();
    went_in.for_each(|token| *balance.entry(token).or_default() += 1);
    let made: i64 = balance.values().sum();
    let (lows, highs): (HashSet<u64>, HashSet<u64>) = balance.keys().map(|token| (token & LOW, token >> 32)).unzip();
    let (mut torn, mut by_device) = (0, 0);
    for token in came_out {
        by_device += u64::from(of_the_device(token));
        match balance.get_mut(&token) {
            Some(left) => *left -= 1,
            None => torn += u64::from(lows.contains(&(token & LOW)) && highs.contains(&(token >> 32))),
        }
    }
    let sum_of = |wanted: fn(i64) -> i64| balance.values().filter_map(|left| u64::try_from(wanted(*left)).ok()).sum();
    UpdateEvidence { made: made.unsigned_abs(), missing: sum_of(|left| left), surplus: sum_of(|left| -left), torn, by_device }
}

const LOW: u64 = 0xffff_ffff;

pub fn compare_swap_32(context: &mut Context<'_>) -> Step<()> {
    compare_swap(context, Width::Bits32)
}

pub fn compare_swap_64(context: &mut Context<'_>) -> Step<()> {
    compare_swap(context, Width::Bits64)
}

/// Everybody increments by CAS; the sum must be the number of CAS that said they succeeded.
fn compare_swap(context: &mut Context<'_>, width: Width) -> Step<()> {
    const ITEMS: u32 = 128;
    const ROUNDS: u32 = 2;
    /// One success per wave and attempt is the least there is without contention: 64 lanes times the rounds, and room for the host.
    const MAX_ATTEMPTS: u32 = 1_024;
    const START: u64 = 3;
    let (counter, ran) = (context.double_words(1)?, context.words(ITEMS as usize)?);
    width.cell(&counter).store(START);
    let kernel = if width == Width::Bits32 { Kernel::CompareSwap32 } else { Kernel::CompareSwap64 };
    let arguments =
        CompareSwapArguments { counter: pointer(&counter), ran: pointer(&ran), rounds: ROUNDS, max_attempts: MAX_ATTEMPTS };
    let packet = context.dispatch(kernel, &arguments, ITEMS)?;
    // Any count of successes is an answer; only the canary says that the work-item did not run.
    let output = || {
        tally(ITEMS as usize, |item| match ran.u32s()[item].load(Ordering::Acquire) {
            CANARY => Element::Untouched,
            found if found <= ROUNDS => Element::Right,
            found if found >> 16 == CANARY >> 16 => Element::Torn,
            _ => Element::Wrong,
        })
    };
    // A CAS that fails is an AtomicOp too.
    context.asks_atomics(None);
    let host_successes = AtomicU64::new(0);
    let contest = contest(context, packet, &output, |_| {
        if width.cell(&counter).try_increment() {
            host_successes.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    let host = host_successes.into_inner();
    let device: u64 = ran
        .u32s()
        .iter()
        .take(ITEMS as usize)
        .map(|word| u64::from(word.load(Ordering::Acquire)))
        .filter(|ran| *ran <= u64::from(ROUNDS))
        .sum();
    let asked = u64::from(ITEMS * ROUNDS);
    if device < asked {
        context.note(format!("the device made {device} of {asked} increments; its other CAS failed {MAX_ATTEMPTS} times over"));
    }
    let (wanted, found) = (START + host + device, width.cell(&counter).load());
    let detail =
        format!("the device's CAS succeeded {device} times and the host's {host} on {START}, which makes {wanted}; found {found}");
    verdict(context, contest.completed, summed(host, device, START, found), &detail)?;
    if device == 0 { Err(Stop::wrong(format!("not one of the device's {asked} increments by CAS succeeded"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(went_in: &[u64], came_out: &[u64]) -> UpdateEvidence {
        exchanged(went_in.iter().copied(), came_out.iter().copied(), |_| false)
    }

    #[test]
    fn every_token_that_comes_out_once_is_not_lost() {
        assert!(tokens(&[1, 2, 3], &[3, 1, 2]).is_exact());
    }

    #[test]
    fn a_token_that_was_overwritten_is_lost_and_a_stranger_makes_up_for_nothing() {
        let exact = UpdateEvidence::default();
        assert_eq!(tokens(&[1, 2, 3], &[1, 1, 3]), UpdateEvidence { made: 3, missing: 1, surplus: 1, ..exact });
        assert_eq!(tokens(&[1, 2], &[u64::MAX, u64::MAX]), UpdateEvidence { made: 2, missing: 2, ..exact });
        assert_eq!(tokens(&[5, 5], &[5]), UpdateEvidence { made: 2, missing: 1, ..exact });
    }

    #[test]
    fn a_token_of_the_device_that_came_out_shows_that_its_kernel_ran() {
        let updates = exchanged([1, 2, 3].into_iter(), [1, 3].into_iter(), |token| token >= 3);
        assert_eq!(updates, UpdateEvidence { made: 3, missing: 1, by_device: 1, ..UpdateEvidence::default() });
    }

    #[test]
    fn increments_of_the_host_alone_are_none_of_the_device() {
        assert_eq!(summed(500, 0, 3, 503), UpdateEvidence { made: 500, ..UpdateEvidence::default() });
        assert_eq!(summed(500, 0, 3, 603), UpdateEvidence { made: 500, surplus: 100, by_device: 100, ..UpdateEvidence::default() });
    }

    #[test]
    fn a_token_made_of_the_halves_of_two_others_is_torn() {
        let torn = tokens(&[0x5_0000_0001, 0x6_0000_0002], &[0x5_0000_0002, 0x6_0000_0001]);
        assert_eq!(torn, UpdateEvidence { made: 2, missing: 2, surplus: 0, torn: 2, by_device: 0 });
    }

    #[test]
    fn a_sum_is_exact_short_long_or_lacks_a_carry() {
        let exact = UpdateEvidence { made: 10, by_device: 6, ..UpdateEvidence::default() };
        assert_eq!(summed(4, 6, 7, 17), exact);
        assert_eq!(summed(4, 6, 7, 13), UpdateEvidence { missing: 4, by_device: 2, ..exact });
        assert_eq!(summed(4, 6, 7, 21), UpdateEvidence { surplus: 4, by_device: 10, ..exact });
        assert_eq!(summed(4, 6, 0xffff_fffb, 5), UpdateEvidence { torn: 1, by_device: 0, ..exact });
    }

    #[test]
    fn a_narrow_cell_wraps_at_32_bits_and_a_wide_one_carries() {
        let (narrow, wide) = (AtomicU32::new(u32::MAX), AtomicU64::new(u64::from(u32::MAX)));
        Cell::Narrow(&narrow).add_one();
        Cell::Wide(&wide).add_one();
        assert_eq!((Cell::Narrow(&narrow).load(), Cell::Wide(&wide).load()), (0, 0x1_0000_0000));
        assert!(Cell::Narrow(&narrow).try_increment());
        assert_eq!(Cell::Narrow(&narrow).swap(9), 1);
    }
}
