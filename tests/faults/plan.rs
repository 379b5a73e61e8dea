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
    /// The state of AtomicOps, as `--atomics` takes it; with both, the run with them is looked at.
    pub atomics: &'static str,
    /// The cause that must be named.
    pub cause: &'static str,
    /// The cause that must be named for the device, of all that its cases name.
    pub device: &'static str,
    /// The cases.
    pub cases: &'static [&'static str],
    /// Cases that are enough to see the fault.
    pub telling: &'static [&'static str],
    /// What else may be named in which cases, and why.
    pub explained: &'static [Explained],
    /// Whether the figures are chance's.
    pub by_chance: bool,
    /// How long its cases wait.
    pub patience: Patience,
}

/// How long a case waits for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As `verify` does: the completion comes, or its loss is predicted, and then nobody waits so long.
    Usual,
    /// A second, because nothing comes.
    Short,
    /// Less than [`LATE`] takes, but with the second in which a late completion is looked for twice of it: some cases wait for two in turn.
    BelowLate,
}

impl Patience {
    /// As `verify` takes it.
    const fn option(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Short => " --timeout 1000",
            Self::BelowLate => " --timeout 400",
        }
    }
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
        let (atomics, patience) = (self.atomics, self.patience.option());
        let command = match self.bed {
            Bed::Embedded => format!("verify --runtime embedded --atomics {atomics}{patience}"),
            Bed::Rocr => format!("verify --runtime rocr-model --sysroot target/rocr/sysroot --atomics {atomics}{patience}"),
            Bed::Guest => format!("guest run --atomics {atomics}"),
        };
        format!("{command} --inject {}{cases}", self.fault)
    }

    /// Why this may be named in this case.
    pub fn explanation(&self, case: &str, named: &str) -> Option<&'static str> {
        self.explained.iter().find(|(cases, known, _)| *known == named && cases.contains(&case)).map(|(_, _, why)| *why)
    }
}

/// Every case in the order of the catalogue, but `invalid-packet`, which dispatches nothing, and `vector-copy`, whose million work-items take
/// an unoptimised device on a busy machine longer than the deadline.
pub const ALL: &[&str] = &[
    "nop",
    "barrier-and",
    "barrier-or",
    "cross-queue",
    "fence-none",
    "fence-agent",
    "fence-system",
    "barrier-bit-order",
    "ring-wraparound",
    "full-ring",
    "multi-producer",
    "shared-signal",
    "exactly-once",
    "fetch-add-32",
    "fetch-add-64",
    "swap-32",
    "swap-64",
    "compare-swap-32",
    "compare-swap-64",
    "rmw-other-32",
    "rmw-other-64",
    "lds-reduce",
    "grid-3d",
    "publish-gpu-to-cpu",
    "publish-cpu-to-gpu",
    "signal-from-kernel",
    "queue-recycle",
    "wait-active",
    "wait-blocked",
];

/// One of each kind, where all would only wait longer: without output, with words, with marks, behind barriers, with 64- and 32-bit updates,
/// by messages, asleep.
const KINDS: &[&str] = &[
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

/// Those that cannot ring so often that they get beyond what earlier queues left.
const RECYCLED: &[&str] = &[
    "nop",
    "barrier-and",
    "barrier-or",
    "cross-queue",
    "fence-none",
    "fence-agent",
    "fence-system",
    "fetch-add-32",
    "fetch-add-64",
    "swap-32",
    "compare-swap-64",
    "rmw-other-32",
    "lds-reduce",
    "grid-3d",
    "publish-gpu-to-cpu",
    "signal-from-kernel",
    "queue-recycle",
    "wait-active",
];

/// What `cargo test` provokes, where it tells.
const FEW: &[&str] = &["fetch-add-64", "exactly-once"];

/// A completion that comes after its deadline and is still waited for.
const LATE: &str = "signal-late=700ms";

const fn row(fault: &'static str, cause: &'static str, explained: &'static [Explained]) -> Row {
    let (bed, patience) = (Bed::Embedded, Patience::Usual);
    Row { bed, atomics: "on", fault, cause, device: cause, cases: ALL, telling: FEW, explained, by_chance: false, patience }
}

/// A fault that no completion survives, or none in time, unpredicted.
const fn silent(fault: &'static str, cause: &'static str, explained: &'static [Explained]) -> Row {
    Row { patience: Patience::Short, ..row(fault, cause, explained) }
}

/// A fault that strikes one packet of a case far inside.
const fn within(fault: &'static str, cause: &'static str, case: &'static [&'static str]) -> Row {
    Row { cases: case, telling: case, ..row(fault, cause, &[]) }
}

/// The same where nothing comes.
const fn silent_within(fault: &'static str, cause: &'static str, case: &'static [&'static str]) -> Row {
    Row { patience: Patience::Short, ..within(fault, cause, case) }
}

const MARKS: &[&str] = &[
    "barrier-and",
    "barrier-or",
    "ring-wraparound",
    "full-ring",
    "multi-producer",
    "shared-signal",
    "exactly-once",
    "queue-recycle",
    "wait-active",
    "wait-blocked",
];

const NO_OUTPUT: &str = "its kernel writes nothing, so whether it ran cannot be seen";
const IDEMPOTENT: &str = "its kernel writes the same when it runs again";
const PLAIN_STORES: &str = "a kernel none of whose stores arrives and a kernel that did not run leave the same memory behind";
const ONE_BYTE: &str = "the values it writes differ from what was there in their first half only";
const HEARD_LATER: &str = "the doorbell is a level: a later ring of the same queue covers the one that was lost";
const FIRST: &str = "no earlier queue has left a value in the doorbell that this one does not exceed";
const NOT_YET: &str = "a completion that comes after every deadline and one that never comes are the same until then";
const NEVER_HEARD: &str = "where no ring is ever heard nothing tells the doorbell from the device behind it";
const ONLY_DECREMENT: &str = "the decrement is the only AtomicOp of the case whose loss shows";

/// Every row.
pub const ROWS: &[Row] = &[
    silent("signal-dropped", "decrement-lost", &[]),
    Row { patience: Patience::BelowLate, ..row(LATE, "completion-slow", &[]) },
    Row {
        device: "decrement-lost",
        telling: &["nop"],
        ..silent("signal-late=30s", "completion-slow", &[(ALL, "decrement-lost", NOT_YET)])
    },
    row("signal-twice", "fired-twice", &[]),
    row("signal-decrement", "wrong-decrement", &[]),
    row(
        "signal-decrement=2",
        "wrong-decrement",
        &[(
            &["compare-swap-32", "compare-swap-64"],
            "fired-twice",
            "a CAS that fails is an AtomicOp too, so nobody can say how many there had to be, and two decrements by 1 look the same",
        )],
    ),
    Row { cases: KINDS, ..silent("signal-decrement=-1", "wrong-decrement", &[]) },
    silent("packet-ignored", "packet-ignored", &[]),
    silent_within("packet-ignored:after=192", "packet-ignored", &["multi-producer"]),
    silent_within("packet-ignored:after=1", "packet-ignored", &["fence-none"]),
    silent_within("packet-ignored:after=47", "packet-ignored", &["shared-signal"]),
    silent_within("packet-ignored:after=5", "packet-ignored", &["wait-active"]),
    silent_within("packet-ignored:after=3", "packet-ignored", &["full-ring"]),
    // Not `full-ring`: the barrier that has to block its ring is lost as well, so two things go wrong in it.
    Row { cases: KINDS, ..silent("packet-lost", "kernel-not-run", &[]) },
    row("packet-skipped", "kernel-not-run", &[(&["nop"], "passed", NO_OUTPUT)]),
    row(
        "packet-twice",
        "executed-twice",
        &[
            (&["nop"], "passed", NO_OUTPUT),
            (
                &[
                    "cross-queue",
                    "fence-none",
                    "fence-agent",
                    "fence-system",
                    "barrier-bit-order",
                    "rmw-other-32",
                    "rmw-other-64",
                    "lds-reduce",
                    "grid-3d",
                    "publish-gpu-to-cpu",
                    "publish-cpu-to-gpu",
                ],
                "passed",
                IDEMPOTENT,
            ),
        ],
    ),
    Row {
        telling: &["fetch-add-64", "exactly-once"],
        ..row("output-torn", "output-torn", &[(&["nop"], "passed", NO_OUTPUT), (MARKS, "passed", ONE_BYTE)])
    },
    within("output-torn:every=100", "output-torn", &["fence-system"]),
    Row { atomics: "off", ..within("output-torn:every=100", "output-torn", &["fence-system"]) },
    Row { atomics: "off", ..within("output-stale:every=100", "output-stale", &["fence-system"]) },
    row(
        "output-stale",
        "output-stale",
        &[
            (&["nop"], "passed", NO_OUTPUT),
            (MARKS, "kernel-not-run", PLAIN_STORES),
            (
                &[
                    "cross-queue",
                    "fence-none",
                    "fence-agent",
                    "fence-system",
                    "barrier-bit-order",
                    "rmw-other-32",
                    "rmw-other-64",
                    "lds-reduce",
                    "grid-3d",
                    "publish-gpu-to-cpu",
                    "publish-cpu-to-gpu",
                ],
                "kernel-not-run",
                PLAIN_STORES,
            ),
        ],
    ),
    Row {
        cases: KINDS,
        ..silent(
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
                ],
                "decrement-lost",
                ONLY_DECREMENT,
            )],
        )
    },
    Row {
        by_chance: true,
        cases: &["fetch-add-64", "fetch-add-32", "nop", "exactly-once"],
        telling: &["fetch-add-64"],
        ..row(
            "atomic-lost=0.02,seed=7",
            "atomic-lost",
            &[
                (&["nop", "exactly-once"], "passed", "chance spared every decrement"),
                (&["nop", "exactly-once"], "decrement-lost", "the decrement is the only AtomicOp of the case"),
            ],
        )
    },
    silent("atomic-torn", "atomic-torn", &[]),
    row("read-index-stuck", "read-index-stuck", &[]),
    Row {
        atomics: "off",
        device: "requester-disabled",
        telling: &["nop"],
        cases: &["nop", "fence-system"],
        ..row(
            "read-index-stuck",
            "read-index-stuck",
            &[(
                &["nop", "fence-system"],
                "requester-disabled",
                "the lost completion is seen first, and the packet is known to have run",
            )],
        )
    },
    Row {
        // Two: how often the diagnosis of the second rings is the machine's, and with it whose ring is the next to be lost.
        cases: &["nop", "fence-system"],
        telling: &["nop", "fence-system"],
        ..silent("doorbell-lost:every=2", "doorbell-lost", &[(&["nop"], "passed", HEARD_LATER)])
    },
    Row {
        device: "packet-ignored",
        cases: &["nop", "fence-system", "fetch-add-64", "queue-recycle"],
        telling: &["nop"],
        ..silent(
            "doorbell-lost",
            "doorbell-lost",
            &[(&["nop", "fence-system", "fetch-add-64", "queue-recycle"], "packet-ignored", NEVER_HEARD)],
        )
    },
    Row {
        cases: RECYCLED,
        telling: &["nop", "fence-none", "fence-system"],
        ..silent("doorbell-stale", "doorbell-stale", &[(&["nop", "barrier-and"], "passed", FIRST)])
    },
    Row {
        cases: &["wait-blocked", "nop", "wait-active"],
        telling: &["wait-blocked"],
        ..silent("event-not-raised", "event-lost", &[(&["nop", "wait-active"], "passed", "it polls the value and needs no event")])
    },
    row("queue-error", "queue-error", &[]),
    row("queue-error=illegal-instruction", "queue-error", &[]),
    Row { cases: KINDS, ..row("atomics-blocked=endpoint", "requester-disabled", &[]) },
    row("atomics-blocked=switch-downstream-routing", "switch-not-routing", &[]),
    row("atomics-blocked=switch-upstream-routing", "switch-not-routing", &[]),
    row("atomics-blocked=switch-upstream-egress", "egress-blocked", &[]),
    row("atomics-blocked=root-port", "root-port-incapable", &[]),
    row("atomics-blocked=root-port-64", "root-port-incapable", &[]),
    Row { atomics: "off", cases: &["nop", "fence-system"], telling: &["nop"], ..silent("signal-dropped", "decrement-lost", &[]) },
    Row { cases: KINDS, ..silent("device-gone", "device-gone", &[]) },
    Row { atomics: "both", ..silent_within("device-gone", "device-gone", &["nop"]) },
    Row { cases: &["nop", "fence-system"], ..within("worker-abort", "worker-crashed", &["nop"]) },
    Row { cases: &["nop", "fence-system"], ..within("worker-segfault", "worker-crashed", &["nop"]) },
    silent_within("worker-loop", "runtime-wedged", &["nop"]),
    Row { atomics: "off", ..silent_within("worker-loop", "runtime-wedged", &["nop"]) },
    Row {
        by_chance: true,
        cases: &["nop", "fence-system"],
        telling: &["nop", "fence-system"],
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
    Row { patience: Patience::Short, ..rocr("signal-dropped", "decrement-lost", &[]) },
    rocr("packet-skipped", "kernel-not-run", &[(&["nop"], "passed", NO_OUTPUT)]),
    rocr("atomics-blocked=root-port", "root-port-incapable", &[]),
    Row { patience: Patience::Short, ..rocr("device-gone", "device-gone", &[]) },
    Row {
        device: "worker-crashed",
        ..rocr("queue-error=illegal-instruction", "queue-error", &[(&["nop", "fetch-add-64"], "worker-crashed", ROCR_ABORTS)])
    },
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
