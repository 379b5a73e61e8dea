//! The table: each fault, the cause that must be named for it, and what else may come out, with the reason.
//!
//! The causes were written down from the definitions of the faults (docs/faults.md) and of the causes (`report::Suspect`), before any
//! of it was run. An entry in `explained` is no weaker expectation: it says why the host cannot see more in that case.

/// One fault.
#[derive(Debug)]
pub struct Row {
    /// What it is provoked on.
    pub bed: Bed,
    /// As `--inject` takes it.
    pub fault: &'static str,
    /// The cause that must be named.
    pub cause: &'static str,
    /// The cases, those that tell most first.
    pub cases: &'static [&'static str],
    /// How many of them are enough to see the fault.
    pub telling: usize,
    /// What else may be named in which cases, and why.
    pub explained: &'static [Explained],
    /// Whether the figures are chance's.
    pub by_chance: bool,
}

/// Which runtime drives the software GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bed {
    /// The one inside the program.
    Embedded,
    /// AMD's, as tests/rocr/sysroot assembles it.
    Rocr,
    /// The one inside the program, in a Linux guest in QEMU, which reaches the device by vfio-pci.
    Guest,
}

impl Bed {
    /// As `--runtime` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Rocr => "rocr-model",
            Self::Guest => "guest",
        }
    }
}

/// Cases, what may be named in them, and why.
pub type Explained = (&'static [&'static str], &'static str, &'static str);

impl Row {
    /// The arguments that reproduce the row.
    pub fn arguments(&self, cases: &[&str]) -> String {
        let cases: String = cases.iter().map(|case| format!(" --case {case}")).collect();
        let command = match self.bed {
            Bed::Embedded => "verify --runtime embedded --atomics on --timeout 400",
            Bed::Rocr => "verify --runtime rocr-model --sysroot target/rocr/sysroot --atomics on --timeout 1000",
            Bed::Guest => "guest run --atomics on",
        };
        format!("{command} --inject {}{cases}", self.fault)
    }

    /// Why this may be named in this case.
    pub fn explanation(&self, case: &str, named: &str) -> Option<&'static str> {
        self.explained.iter().find(|(cases, known, _)| *known == named && cases.contains(&case)).map(|(_, _, why)| *why)
    }
}

/// One of each kind: without output, with words, with marks, behind barriers, with 64- and 32-bit updates, by messages, asleep.
const CASES: &[&str] = &[
    "fetch-add-64",
    "exactly-once",
    "nop",
    "barrier-and",
    "fence-system",
    "ring-wraparound",
    "shared-signal",
    "swap-32",
    "publish-gpu-to-cpu",
    "signal-from-kernel",
    "queue-recycle",
    "wait-active",
];

const fn row(fault: &'static str, cause: &'static str, explained: &'static [Explained]) -> Row {
    Row { bed: Bed::Embedded, fault, cause, cases: CASES, telling: 2, explained, by_chance: false }
}

const NO_OUTPUT: &str = "its kernel writes nothing, so whether it ran cannot be seen";
const IDEMPOTENT: &str = "its kernel writes the same when it runs again";
const PLAIN_STORES: &str = "a kernel none of whose stores arrives and a kernel that did not run leave the same memory behind";
const ONE_BYTE: &str = "the values it writes differ from what was there in their first half only";
const HEARD_LATER: &str = "the doorbell is a level: a later ring of the same queue covers the one that was lost";
const FIRST: &str = "no earlier queue has left a value in the doorbell that this one does not exceed";

/// Every row.
pub const ROWS: &[Row] = &[
    row("signal-dropped", "decrement-lost", &[]),
    Row { cases: &["nop", "fence-system", "fetch-add-64", "queue-recycle"], ..row("signal-late=700ms", "completion-slow", &[]) },
    Row {
        cases: &["nop", "fence-system"],
        ..row(
            "signal-late=30s",
            "decrement-lost",
            &[(
                &["nop", "fence-system"],
                "decrement-lost",
                "a completion that comes after every deadline and one that never comes are the same until then",
            )],
        )
    },
    row("signal-twice", "fired-twice", &[]),
    row("signal-decrement", "wrong-decrement", &[]),
    row(
        "signal-decrement=2",
        "wrong-decrement",
        &[(
            &[
                "nop",
                "barrier-and",
                "fence-system",
                "swap-32",
                "fetch-add-64",
                "publish-gpu-to-cpu",
                "signal-from-kernel",
                "queue-recycle",
                "wait-active",
                "shared-signal",
                "ring-wraparound",
                "exactly-once",
            ],
            "fired-twice",
            "a decrement by 2 and two decrements by 1 are the same to a path that does not count AtomicOps",
        )],
    ),
    row("signal-decrement=-1", "wrong-decrement", &[]),
    row("packet-ignored", "packet-ignored", &[]),
    row("packet-lost", "kernel-not-run", &[(&["nop"], "decrement-lost", NO_OUTPUT)]),
    row("packet-skipped", "kernel-not-run", &[(&["nop"], "passed", NO_OUTPUT)]),
    row(
        "packet-twice",
        "executed-twice",
        &[(&["nop"], "passed", NO_OUTPUT), (&["fence-system", "publish-gpu-to-cpu"], "passed", IDEMPOTENT)],
    ),
    row(
        "output-torn",
        "output-torn",
        &[
            (&["nop"], "passed", NO_OUTPUT),
            (
                &["exactly-once", "barrier-and", "ring-wraparound", "shared-signal", "queue-recycle", "wait-active"],
                "passed",
                ONE_BYTE,
            ),
        ],
    ),
    row(
        "output-stale",
        "output-stale",
        &[
            (&["nop"], "passed", NO_OUTPUT),
            (
                &[
                    "exactly-once",
                    "barrier-and",
                    "fence-system",
                    "ring-wraparound",
                    "shared-signal",
                    "swap-32",
                    "publish-gpu-to-cpu",
                    "queue-recycle",
                    "wait-active",
                ],
                "kernel-not-run",
                PLAIN_STORES,
            ),
        ],
    ),
    row(
        "atomic-lost=1,seed=7",
        "atomic-lost",
        &[(
            &[
                "nop",
                "exactly-once",
                "barrier-and",
                "fence-system",
                "ring-wraparound",
                "shared-signal",
                "publish-gpu-to-cpu",
                "queue-recycle",
                "wait-active",
                "swap-32",
            ],
            "decrement-lost",
            "the decrement is the only AtomicOp of the case whose loss shows",
        )],
    ),
    Row {
        by_chance: true,
        cases: &["fetch-add-64", "fetch-add-32", "nop", "exactly-once"],
        telling: 1,
        ..row(
            "atomic-lost=0.02,seed=7",
            "atomic-lost",
            &[
                (&["nop", "exactly-once"], "passed", "chance spared every decrement"),
                (&["nop", "exactly-once"], "decrement-lost", "the decrement is the only AtomicOp of the case"),
            ],
        )
    },
    row("atomic-torn", "atomic-torn", &[]),
    row("read-index-stuck", "read-index-stuck", &[]),
    Row {
        cases: &["nop", "fence-system", "fetch-add-64", "grid-3d", "lds-reduce"],
        telling: 5,
        ..row("doorbell-lost:every=2", "doorbell-lost", &[(&["nop"], "passed", HEARD_LATER)])
    },
    Row { cases: &["nop", "fence-system", "fetch-add-64", "queue-recycle"], ..row("doorbell-lost", "packet-ignored", &[]) },
    Row {
        cases: &["nop", "exactly-once", "fetch-add-64", "swap-32", "queue-recycle"],
        telling: 4,
        ..row("doorbell-stale", "doorbell-stale", &[(&["nop", "exactly-once"], "passed", FIRST)])
    },
    Row {
        cases: &["wait-blocked", "nop", "wait-active"],
        telling: 1,
        ..row("event-not-raised", "event-lost", &[(&["nop", "wait-active"], "passed", "it polls the value and needs no event")])
    },
    row("queue-error", "queue-error", &[]),
    row("queue-error=illegal-instruction", "queue-error", &[]),
    row("atomics-blocked=endpoint", "requester-disabled", &[]),
    row("atomics-blocked=switch-downstream-routing", "switch-not-routing", &[]),
    row("atomics-blocked=switch-upstream-routing", "switch-not-routing", &[]),
    row("atomics-blocked=switch-upstream-egress", "egress-blocked", &[]),
    row("atomics-blocked=root-port", "root-port-incapable", &[]),
    row("atomics-blocked=root-port-64", "root-port-incapable", &[]),
    row("device-gone", "device-gone", &[]),
    Row { cases: &["nop", "fence-system"], ..row("worker-abort", "worker-crashed", &[]) },
    Row { cases: &["nop", "fence-system"], ..row("worker-segfault", "worker-crashed", &[]) },
    Row { cases: &["nop"], ..row("worker-loop", "runtime-wedged", &[]) },
    Row {
        by_chance: true,
        cases: &["nop", "fence-system"],
        ..row(
            "worker-flood",
            "worker-flooded",
            &[(
                &["nop", "fence-system"],
                "runtime-wedged",
                "on a loaded machine the watchdog ends the worker before it has written more than is let through",
            )],
        )
    },
];

const fn rocr(fault: &'static str, cause: &'static str, explained: &'static [Explained]) -> Row {
    Row { bed: Bed::Rocr, cases: &["nop", "fetch-add-64"], ..row(fault, cause, explained) }
}

const ROCR_ABORTS: &str = "ROCr aborts the process while it handles the error: its stand-in for KFD lacks an ioctl (`Unimplemented KFD ioctl` in the notes)";

/// The same through AMD's runtime: what it does itself before a case sees anything.
pub const ROCR_ROWS: &[Row] = &[
    rocr("signal-dropped", "decrement-lost", &[]),
    rocr("packet-skipped", "kernel-not-run", &[(&["nop"], "passed", NO_OUTPUT)]),
    rocr("atomics-blocked=root-port", "root-port-incapable", &[]),
    rocr("device-gone", "device-gone", &[]),
    rocr("queue-error=illegal-instruction", "queue-error", &[(&["nop", "fetch-add-64"], "worker-crashed", ROCR_ABORTS)]),
    rocr("worker-abort", "worker-crashed", &[]),
];

const fn guest(fault: &'static str, cause: &'static str) -> Row {
    Row { bed: Bed::Guest, cases: &["nop", "fetch-add-64"], ..row(fault, cause, &[]) }
}

/// The same where the device is outside of the machine that verifies it. Each row boots a guest, so there are few: what needs the way
/// through QEMU's config space (a hop of each kind that blocks), the rest of a signal's life, and a device that goes away under vfio-pci.
pub const GUEST_ROWS: &[Row] = &[
    guest("signal-dropped", "decrement-lost"),
    guest("packet-ignored", "packet-ignored"),
    guest("device-gone", "device-gone"),
    guest("atomics-blocked=root-port", "root-port-incapable"),
    guest("atomics-blocked=switch-downstream-routing", "switch-not-routing"),
    guest("atomics-blocked=switch-upstream-egress", "egress-blocked"),
];
