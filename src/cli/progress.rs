//! A progress bar on stderr for runs that take long.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use aqlprobe::report::{AtomicsMode, BedReport, CaseReport};
use aqlprobe::verify::Observer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter runs show their result only.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches a run. Nothing is drawn in the first two seconds, nor ever where stderr is no terminal.
pub struct Progress {
    bar: ProgressBar,
    run: String,
    /// Dropped with the bar, which ends the thread that would show it.
    _waiting: Option<Sender<()>>,
}

impl Progress {
    /// A bar that shows itself once the run has taken long enough.
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        let waiting = io::stderr().is_terminal().then(|| show_later(bar.clone()));
        Self { bar, run: String::new(), _waiting: waiting }
    }
}

/// Shows `bar` after [`PATIENCE`], unless the returned end is dropped before.
fn show_later(bar: ProgressBar) -> Sender<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        if receiver.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    });
    sender
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn bed_ready(&mut self, _bed: &BedReport) {}

    fn planned(&mut self, total_cases: usize) {
        self.bar.set_length(total_cases as u64);
    }

    fn run_started(&mut self, device: &str, mode: AtomicsMode) {
        self.run = format!("{device}, AtomicOps {mode}");
    }

    fn case_started(&mut self, name: &str) {
        self.bar.set_message(format!("{}: {name}", self.run));
    }

    fn case_finished(&mut self, _case: &CaseReport) {
        self.bar.inc(1);
    }
}
