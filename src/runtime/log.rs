//! Why a call failed, in words: on stderr when `AQLPROBE_LOG` is set, and for tests.

use std::env;
use std::io::{self, Write};
use std::sync::LazyLock;

/// Set (to anything but nothing) to see the runtime's reasons.
pub const LOG_ENV: &str = "AQLPROBE_LOG";

static WANTED: LazyLock<bool> = LazyLock::new(|| env::var_os(LOG_ENV).is_some_and(|value| !value.is_empty()));

/// Writes one line, if anyone wants it.
pub fn note(line: impl FnOnce() -> String) {
    if *WANTED {
        // Nobody is left to tell when stderr is gone, and a panic would cross a C caller.
        let _ = writeln!(io::stderr().lock(), "aqlprobe runtime: {}", line());
    }
}
