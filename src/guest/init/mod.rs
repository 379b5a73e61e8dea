//! The guest's first process: prepares the machine, runs the workload, answers, and powers off.
//!
//! It must not end, for the kernel panics when it does; so nothing here fails for good: what does not work is a note in the answers, and
//! the steps that need it say the rest.

mod device;
mod fuzz;
mod machine;
mod steps;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use rustix::system::{RebootCommand, reboot};
use rustix::termios::{self, OptionalActions};

use super::answer::{ANSWERS, Answer, WORKLOAD_FILE, Workload};

pub use fuzz::{FuzzError, FuzzOutcome, fuzz};

/// Where answers go.
struct Port {
    file: Option<File>,
}

impl Port {
    /// The serial port, without the translations of a terminal.
    fn open() -> Self {
        let file = OpenOptions::new().read(true).write(true).open(ANSWERS).ok();
        if let Some(file) = &file
            && let Ok(mut attributes) = termios::tcgetattr(file)
        {
            attributes.make_raw();
            let _ = termios::tcsetattr(file, OptionalActions::Now, &attributes);
        }
        Self { file }
    }

    /// Sends one answer. Nobody is there to tell when it cannot be sent: the host's deadline notices.
    fn send(&mut self, answer: &Answer) {
        let Some(file) = &mut self.file else { return };
        if let Ok(mut line) = serde_json::to_vec(answer) {
            line.push(b'\n');
            let _ = file.write_all(&line);
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.send(&Answer::Note { text: text.into() });
    }

    fn drain(&self) {
        if let Some(file) = &self.file {
            let _ = termios::tcdrain(file);
        }
    }
}

/// Runs as the first process of a guest. It powers the machine off and does not return.
///
/// # Errors
/// When this is not the first process of a machine: then nothing has been touched.
pub fn main() -> io::Result<()> {
    if std::process::id() != 1 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "guest-init is the first process of a guest, which this process is not",
        ));
    }
    machine::mount_file_systems();
    let mut port = Port::open();
    port.send(&Answer::Booted {
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        processors: thread::available_parallelism().map_or(0, usize::from),
        uptime_ms: machine::uptime_ms(),
    });
    match workload() {
        Ok(workload) => work(&workload, &mut port),
        Err(error) => port.note(format!("the workload cannot be read: {error}")),
    }
    port.send(&Answer::Done);
    port.drain();
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn workload() -> io::Result<Workload> {
    serde_json::from_slice(&fs::read(WORKLOAD_FILE)?).map_err(io::Error::from)
}

fn work(workload: &Workload, port: &mut Port) {
    let pages = machine::set_aside_huge_pages(workload.huge_pages);
    port.note(format!("{pages} of {} 2 MiB pages are set aside", workload.huge_pages));
    for problem in machine::load_modules() {
        port.note(problem);
    }
    machine::allow_unremapped_interrupts();
    match device::functions(workload.vendor, workload.device) {
        Ok(functions) => port.send(&Answer::Functions { functions }),
        Err(problem) => port.note(problem),
    }
    for step in &workload.steps {
        port.send(&Answer::Started { name: step.name.clone() });
        port.send(&steps::run(step, &workload.environment));
    }
}
