//! The user's interrupt: noticed by a flag, so that everything can be put back before the process ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Catches the signals that ask the process to end, for as long as it lives.
#[derive(Debug)]
pub struct Interrupts {
    caught: Arc<AtomicUsize>,
    registered: Vec<SigId>,
}

impl Interrupts {
    /// Starts catching. A signal that cannot be caught keeps its own effect.
    #[must_use]
    pub fn catch() -> Self {
        let caught = Arc::new(AtomicUsize::new(0));
        let registered = [SIGINT, SIGTERM, SIGHUP]
            .into_iter()
            // Whoever started this with nohup(1) wants it to outlive the terminal.
            .filter(|signal| *signal != SIGHUP || !is_ignored(SIGHUP))
            .filter_map(|signal| {
                let number = usize::try_from(signal).ok()?;
                signal_hook::flag::register_usize(signal, Arc::clone(&caught), number).ok()
            })
            .collect();
        Self { caught, registered }
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
        Self { caught: Arc::new(AtomicUsize::new(usize::try_from(signal).unwrap())), registered: Vec::new() }
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
