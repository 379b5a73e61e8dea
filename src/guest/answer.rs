//! What host and guest say to each other: a workload one way, in a file of the initramfs; answers the other way, one JSON object a
//! line, on the second serial port.

use serde::{Deserialize, Serialize};

use super::options::Seconds;

/// Where the guest finds its [`Workload`].
pub(super) const WORKLOAD_FILE: &str = "/workload.json";
/// Where the kernel modules lie, in the order of loading in the file `order`.
pub(super) const MODULES: &str = "/modules";
/// Where answers go.
pub(super) const ANSWERS: &str = "/dev/ttyS1";
/// Longest text that a step may leave on stdout or stderr; more is cut, and said to be.
pub(super) const TEXT_AT_MOST: usize = 1 << 20;

/// What the guest is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// PCI vendor of the device under test.
    pub vendor: u16,
    /// Its device id.
    pub device: u16,
    /// 2 MiB pages to set aside for memory that the device reaches.
    pub huge_pages: u32,
    /// Set in every step's environment.
    pub environment: Vec<(String, String)>,
    /// What to run, in order. A step that fails does not keep the next from running.
    pub steps: Vec<Step>,
}

/// One run of this program in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is called in the report.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// After this it is killed.
    pub deadline: Seconds,
}

/// One line from the guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// User space runs.
    Booted {
        /// `uname -r`.
        release: String,
        /// Online processors.
        processors: usize,
        /// Milliseconds since the kernel started.
        uptime_ms: u64,
    },
    /// Something that was done to the machine, or could not be.
    Note {
        /// In a sentence.
        text: String,
    },
    /// The PCI Express functions from the root port down to the device, before any step.
    Functions {
        /// From the top.
        functions: Vec<PciFunction>,
    },
    /// A step has begun.
    Started {
        /// Its name.
        name: String,
    },
    /// A step has ended.
    Finished {
        /// Its name.
        name: String,
        /// Exit status; absent when a signal ended it.
        status: Option<i32>,
        /// Whether its deadline ended it.
        overran: bool,
        /// How long it took.
        duration_ms: u64,
        /// What it printed, as JSON where it is that.
        stdout: serde_json::Value,
        /// What it said beside.
        stderr: String,
    },
    /// Every step has ended; the guest powers off.
    Done,
}

/// What a PCI Express function of the guest shows, as `lspci` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciFunction {
    /// `0000:01:00.0`.
    pub bdf: String,
    /// `1002:7300`.
    pub id: String,
    /// Device Capabilities 2.
    pub devcap2: u32,
    /// Device Control 2.
    pub devctl2: u16,
    /// Whether its header has the multifunction flag.
    pub multifunction: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_and_reads_back() {
        let answer = Answer::Finished {
            name: "path".to_owned(),
            status: Some(1),
            overran: false,
            duration_ms: 12,
            stdout: serde_json::json!({"devices": []}),
            stderr: "two\nlines".to_owned(),
        };
        let line = serde_json::to_string(&answer).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
    }
}
