//! Blocked waits against completions that are announced, under every interleaving that loom finds: no wake-up is lost.
//!
//! The bell and the loop around it are the real ones. The signal's value is an atomic of loom's, and the futex a model of the
//! kernel's without timeouts, so a wait that nobody ends is a deadlock, and fails.

use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicI64, Ordering};
use loom::thread;

use super::bell::Bell;
use super::blocked_wait::{Condition, MAX_WAIT, blocked_wait};

struct Shared {
    bell: Bell,
    values: Vec<AtomicI64>,
}

fn signals(values: &[i64]) -> Arc<Shared> {
    Arc::new(Shared { bell: Bell::default(), values: values.iter().map(|value| AtomicI64::new(*value)).collect() })
}

fn wait(shared: &Shared, signal: usize, condition: Condition, compare: i64) -> i64 {
    let load = || shared.values[signal].load(Ordering::SeqCst);
    blocked_wait(&shared.bell, |left| left, MAX_WAIT, condition, compare, load)
}

/// What the device does: the value first, then the interrupt.
fn complete(shared: &Shared, signal: usize) {
    shared.values[signal].fetch_sub(1, Ordering::SeqCst);
    shared.bell.ring();
}

fn explore(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(scenario);
}

#[test]
fn a_blocked_wait_is_woken_by_its_completion() {
    explore(4, || {
        let shared = signals(&[1]);
        let device = shared.clone();
        let device = thread::spawn(move || complete(&device, 0));
        assert_eq!(wait(&shared, 0, Condition::Less, 1), 0);
        device.join().unwrap();
    });
}

#[test]
fn a_blocked_wait_outlasts_completions_that_do_not_meet_its_condition() {
    explore(3, || {
        let shared = signals(&[2]);
        let device = shared.clone();
        let device = thread::spawn(move || (0..2).for_each(|_| complete(&device, 0)));
        assert_eq!(wait(&shared, 0, Condition::Equal, 0), 0);
        device.join().unwrap();
    });
}

#[test]
fn two_blocked_waits_for_one_signal_are_both_woken() {
    explore(2, || {
        let shared = signals(&[1]);
        let (device, other) = (shared.clone(), shared.clone());
        let device = thread::spawn(move || complete(&device, 0));
        let other = thread::spawn(move || wait(&other, 0, Condition::Less, 1));
        assert_eq!((wait(&shared, 0, Condition::Less, 1), other.join().unwrap()), (0, 0));
        device.join().unwrap();
    });
}

#[test]
fn signals_that_share_a_bell_do_not_take_each_others_wake_ups() {
    explore(2, || {
        let shared = signals(&[1, 1]);
        let (device, other) = (shared.clone(), shared.clone());
        let device = thread::spawn(move || [1, 0].into_iter().for_each(|signal| complete(&device, signal)));
        let other = thread::spawn(move || wait(&other, 1, Condition::Equal, 0));
        assert_eq!((wait(&shared, 0, Condition::Equal, 0), other.join().unwrap()), (0, 0));
        device.join().unwrap();
    });
}

/// What the tests above would find: an interrupt before the value it announces. What is shared outlives the deadlock, because loom
/// does not let a stopped run drop it.
#[test]
#[should_panic(expected = "deadlock")]
fn an_announcement_before_its_value_is_found() {
    explore(4, || {
        let shared: &'static Shared = Box::leak(Box::new(Shared { bell: Bell::default(), values: vec![AtomicI64::new(1)] }));
        let device = thread::spawn(move || {
            shared.bell.ring();
            shared.values[0].fetch_sub(1, Ordering::SeqCst);
        });
        wait(shared, 0, Condition::Less, 1);
        device.join().unwrap();
    });
}
