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

impl Drop for Interrupts {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
