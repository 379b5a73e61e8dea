//! The user's interrupt: noticed by a flag, so that everything can be put back before the process ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signals that ask a process to end.
const CAUGHT: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Catches the signals that ask the process to end, for as long as it lives. Afterwards they end it again, so that a report whose reader
/// does not read can be given up.
#[derive(Debug)]
pub struct Interrupts {
    caught: Arc<AtomicUsize>,
    registered: Vec<SigId>,
    _own_effect: Option<Suspended>,
}

impl Interrupts {
    /// Starts catching. A signal that cannot be caught keeps its own effect.
    #[must_use]
    pub fn catch() -> Self {
        let own_effect = Suspended::begin();
        let caught = Arc::new(AtomicUsize::new(0));
        let registered = CAUGHT
            .into_iter()
            .filter(|signal| !outlives(*signal))
            .filter_map(|signal| {
                let number = usize::try_from(signal).ok()?;
                signal_hook::flag::register_usize(signal, Arc::clone(&caught), number).ok()
            })
            .collect();
        Self { caught, registered, _own_effect: Some(own_effect) }
    }

    /// The signal that came, by name.
    #[must_use]
    pub fn pending(&self) -> Option<&'static str> {
        match i32::try_from(self.caught.load(Ordering::Relaxed)).ok()? {
            0 => None,
            signal => Some(signal_hook::low_level::signal_name(signal).unwrap_or("a signal")),
        }
    }

    #[cfg(test)]
    pub fn raised(signal: i32) -> Self {
        let caught = Arc::new(AtomicUsize::new(usize::try_from(signal).unwrap()));
        Self { caught, registered: Vec::new(), _own_effect: None }
    }
}

/// Whether this process was started to ignore a signal (`SigIgn` in proc(5)).
fn is_ignored(signal: i32) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignored_by(&status, signal))
}

fn ignored_by(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// What the signals do by themselves. Once caught, a signal never has its own effect again unless somebody sees to that: the handler
/// stays in place and does nothing.
struct OwnEffect {
    /// How many catch the signals now.
    catching: Mutex<usize>,
    wanted: Arc<AtomicBool>,
}

impl OwnEffect {
    fn get() -> &'static Self {
        static EFFECT: OnceLock<OwnEffect> = OnceLock::new();
        EFFECT.get_or_init(|| {
            let wanted = Arc::new(AtomicBool::new(false));
            for signal in CAUGHT.into_iter().filter(|signal| !outlives(*signal)) {
                // One that cannot be caught keeps its effect anyhow.
                let _ = signal_hook::flag::register_conditional_default(signal, Arc::clone(&wanted));
            }
            Self { catching: Mutex::new(0), wanted }
        })
    }

    fn change(&self, to: impl FnOnce(usize) -> usize) {
        let mut catching = self.catching.lock().unwrap_or_else(PoisonError::into_inner);
        *catching = to(*catching);
        self.wanted.store(*catching == 0, Ordering::Relaxed);
    }
}

/// The signals do nothing by themselves while one of these lives.
#[derive(Debug)]
struct Suspended(());

impl Suspended {
    fn begin() -> Self {
        OwnEffect::get().change(|catching| catching + 1);
        Self(())
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        OwnEffect::get().change(|catching| catching - 1);
    }
}

/// Whether the process is to outlive this signal: whoever started it with nohup(1) wants it to outlive the terminal.
fn outlives(signal: i32) -> bool {
    signal == SIGHUP && is_ignored(SIGHUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_is_read_from_the_mask() {
        // As `nohup` leaves it on Linux 6.18: SIGHUP alone.
        let status = "Name:\tsleep\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000000000\n";
        assert!(ignored_by(status, SIGHUP));
        assert!(!ignored_by(status, SIGINT) && !ignored_by(status, SIGTERM));
        assert!(!ignored_by("", SIGHUP));
    }
}
